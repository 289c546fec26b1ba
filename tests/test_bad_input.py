"""Everything bad gets one clear line: what, where, and what to do. And nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import scenarios
from conftest import git, write
from lab import Lab, lab_or_skip
from lab.model import Repository, Run

PROJECT = Path(__file__).resolve().parents[1]
EXAMPLE = PROJECT / "orchestrator" / "example"
LOG = EXAMPLE / "run.log"
FULL = {"actions": "write", "checks": "read", "contents": "write", "pull-requests": "write", "workflows": "write"}


def python(*arguments: str | Path, cwd: Path, env: Mapping[str, str] = {}) -> subprocess.CompletedProcess[str]:  # noqa: B006
    environ = {**os.environ, "PYTHONPATH": str(PROJECT), "NO_COLOR": "1", "COLUMNS": "200", **env}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, env=environ, capture_output=True, text=True, check=False, timeout=120
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done


class TestCommandLine:
    @pytest.fixture
    def cli(self, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
        return lambda *arguments, **env: python("-m", "orchestrator", *arguments, cwd=tmp_path, env=env)

    @staticmethod
    def refused(done: subprocess.CompletedProcess[str], *said: str) -> None:
        """Exit 2 and one line that holds all of ``said``; progress may stand before it."""
        lines = [line for line in done.stderr.splitlines() if not line.startswith(("· ", "  "))]
        assert done.returncode == 2, done
        assert len(lines) == 1 and lines[0].startswith("orchestrator: "), done.stderr
        for text in said:
            assert text in lines[0]

    @pytest.mark.parametrize("source", ["empty.log", "binary.log"])
    def test_a_log_without_anything_in_it_has_no_root_cause(self, cli: Any, tmp_path: Path, source: str) -> None:
        (tmp_path / "empty.log").touch()
        (tmp_path / "binary.log").write_bytes(bytes(range(256)) * 50)
        done = cli("diagnose", source)
        assert done.returncode == 3
        assert "No root cause was recognised" in done.stdout
        assert json.loads(cli("diagnose", source, "--format", "json").stdout)["issues"] == []

    def test_a_folder_without_logs(self, cli: Any, tmp_path: Path) -> None:
        write(tmp_path, {"logs/x.bin": b"\0"})
        self.refused(cli("diagnose", "logs"), "logs: no .txt or .log file")

    def test_a_source_that_is_not_there(self, cli: Any) -> None:
        self.refused(cli("diagnose", "nosuch.log"), "nosuch.log", "owner/name#run_id")

    @pytest.mark.parametrize("damage", ["inside", "cut"])
    def test_a_damaged_zip(self, cli: Any, tmp_path: Path, damage: str) -> None:
        archive = tmp_path / "run.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as open_archive:
            open_archive.writestr("0_build.txt", "a line of a log\n" * 5000)
        data = bytearray(archive.read_bytes())
        if damage == "cut":
            archive.write_bytes(data[:100])
        else:
            data[60:90] = bytes(byte ^ 0xFF for byte in data[60:90])
            archive.write_bytes(data)
        self.refused(cli("diagnose", "run.zip"), "damaged", "download it again")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("max-reruns: 1\nmod: report\n", [":2:", "'mod'", "did you mean 'mode'?"]),
            ("mode: pull_request\n", [":1:", "'mode'", "report, patch", "did you mean 'pull-request'?"]),
            ("# first\nmax-reruns: many\n", [":2:", "max-reruns", "integer"]),
            ("max-reruns: 400\n", [":1:", "max-reruns", "maximum"]),
            ("mode: report\nrules: [\n", ["line 3"]),
            ("mode: report\nmode: push\n", ["line 2", "duplicate key"]),
            ("- mode\n", ["keys and values"]),
            ("disable: [python/modul-not-found]\n", ["'python/modul-not-found'", "did you mean 'python/module-not-found'?"]),
            ("rules:\n- id: a/b\n  titel: T\n  category: code\n  patterns: [abcd]\n", [":3:", "'titel'", "'title'"]),
            ("rules:\n- id: a/b\n  title: T\n  category: code\n  patterns: ['(open']\n", ["a/b", "'(open'"]),
            ("mode: 2020-01-01\n", ["date"]),
            ("1: x\n", ["key"]),
        ],
        ids=["key", "enum", "type", "range", "broken", "duplicate", "list", "rule", "rule-key", "pattern", "date", "number-key"],
    )
    def test_a_configuration_with_a_mistake(self, cli: Any, tmp_path: Path, text: str, said: list[str]) -> None:
        write(tmp_path, {"r/.github/orchestrator.yml": text})
        self.refused(cli("diagnose", LOG, "--repo", "r"), "orchestrator.yml" if "(open" not in text else "", *said)

    def test_a_configuration_that_is_not_there_or_no_text(self, cli: Any, tmp_path: Path) -> None:
        self.refused(cli("heal", LOG, "--config", "nope.yml"), "nope.yml: No such file")
        (tmp_path / "binary.yml").write_bytes(b"mode: \xff\xfe\n")
        self.refused(cli("heal", LOG, "--config", "binary.yml"), "binary.yml")

    def test_folders_that_are_no_repository(self, cli: Any, tmp_path: Path) -> None:
        (tmp_path / "plain").mkdir()
        git(tmp_path, "init", "--quiet", "empty")
        self.refused(cli("heal", LOG, "--repo", "plain"), "plain", "not a git repository", "git init")
        self.refused(cli("heal", LOG, "--repo", "empty"), "empty", "commit")
        self.refused(cli("heal", LOG, "--repo", "nowhere"), "nowhere", "no such folder")
        self.refused(cli("diagnose", LOG, "--repo", "nowhere"), "nowhere", "no such folder")

    def test_a_repository_with_changes_of_ones_own(self, cli: Any, tmp_path: Path) -> None:
        log = tmp_path / "removed.log"
        stamp = "2026-11-22T10:11:12.1234567Z "
        said = "This request has been automatically failed because it uses a deprecated version of `actions/upload-artifact: v3`."
        log.write_text(f"{stamp}Prepare all required actions\n{stamp}Getting action download info\n{stamp}##[error]{said}\n")
        folder = tmp_path / "r"
        write(folder, scenarios.REMOVED_ACTION.files)
        git(folder, "init", "--quiet", "-b", "main")
        git(folder, "add", "-A")
        git(folder, "commit", "--quiet", "-m", "First")
        workflow = folder / scenarios.CI
        workflow.write_text(workflow.read_text() + "# mine\n")
        mine = workflow.read_bytes()
        done = cli("heal", log, "--repo", "r", "--report", "report.json")
        self.refused(done, scenarios.CI, "uncommitted changes", "commit or stash")
        assert workflow.read_bytes() == mine
        fix = json.loads((tmp_path / "report.json").read_text())["fixes"][0]
        assert not fix["success"] and "+" in fix["diff"], "the mend is in the report, though it was not written"

    @pytest.mark.parametrize("report", ["folder", "file/below"])
    def test_a_report_that_cannot_be_written(self, cli: Any, tmp_path: Path, report: str) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "file").touch()
        done = cli("heal", LOG, "--report", report)
        assert done.returncode == 2
        assert f"the report can't be written to {report}" in done.stderr.splitlines()[-1]
        assert "No module named 'yaml'" in done.stdout, "the diagnosis is shown all the same"

    def test_words_that_are_wrong(self, cli: Any) -> None:
        self.refused(cli("heal", LOG, "--mode", "pul-request"), "--mode", "pul-request", "did you mean 'pull-request'?")
        self.refused(cli("dignose", LOG), "dignose", "did you mean 'diagnose'?")
        self.refused(cli("diagnose"), "SOURCE", "--help")
        self.refused(cli("heal", LOG, "--max-reruns", "many"), "--max-reruns", "many")
        self.refused(cli("rules", "show", "python/modul-not-found"), "did you mean 'python/module-not-found'?")
        self.refused(cli("heal", LOG, "--mode", "pull-request"), "pull-request", "apply, commit or patch")

    def test_what_needs_github_says_what_it_lacks(self, cli: Any) -> None:
        self.refused(cli("heal", "octo/demo#1"), "GITHUB_TOKEN")
        self.refused(cli("monitor", "--once"), "--repo OWNER/NAME")
        self.refused(cli("monitor", "--once", "--repo", "octo/demo"), "GITHUB_TOKEN")
        elsewhere = "https://ghe.example.invalid/octo/demo/actions/runs/1"
        self.refused(cli("diagnose", elsewhere, GITHUB_TOKEN="x"), "ghe.example.invalid", "GITHUB_SERVER_URL")


class Action:
    """The action's entry point as a runner starts it, on the lab."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.output, self.summary = folder / "output", folder / "summary"
        self.workspace = folder / "workspace"
        self.workspace.mkdir()

    def __call__(self, token: object, run: Run | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        event = self.folder / "event.json"
        if run is not None:
            event.write_text(json.dumps(self.lab.event(run, "completed" if run.status == "completed" else "requested")))
        for file in (self.output, self.summary):
            if not file.is_dir():
                file.write_text("")
        given = {
            **self.lab.env(token), "INPUT_TOKEN": str(token), "GITHUB_EVENT_NAME": "workflow_run",
            "GITHUB_EVENT_PATH": str(event), "GITHUB_REPOSITORY": "octo/demo", "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_OUTPUT": str(self.output), "GITHUB_STEP_SUMMARY": str(self.summary), **env,
        }  # fmt: skip
        return python(PROJECT / "entrypoint.py", cwd=self.workspace, env=given)

    def outputs(self) -> dict[str, str]:
        lines = iter(self.output.read_text().splitlines())
        found = {}
        for line in lines:
            name, _, end = line.partition("<<")
            value = []
            while (part := next(lines)) != end:
                value.append(part)
            found[name] = "\n".join(value)
        return found

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(Path(self.outputs()["report-path"]).read_text())
        return found


def said(done: subprocess.CompletedProcess[str], command: str) -> list[str]:
    """The workflow commands of one kind in the step's output."""
    return [line for line in done.stdout.splitlines() if line.startswith((f"::{command}::", f"::{command} "))]


def failed(done: subprocess.CompletedProcess[str], *words: str) -> None:
    (line,) = said(done, "error")
    assert done.returncode == 1
    for word in words:
        assert word in line


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Repository, Run, Run]]:
    """One lab with a red and a green run for all tests that change nothing in it."""
    with lab_or_skip(tmp_path_factory.mktemp("lab")) as lab:
        repo = lab.repository("octo/demo", scenarios.REMOVED_ACTION.files)
        red = lab.push(repo, {"README.md": "A change.\n"})
        green = lab.push(repo, {scenarios.CI: scenarios.workflow("- run: echo fine")}, branch="green")
        lab.settle()
        assert red is not None and green is not None
        assert (red.conclusion, green.conclusion) == ("failure", "success")
        yield lab, repo, red, green


@pytest.mark.lab
class TestAction:
    @pytest.fixture
    def action(self, place: tuple[Lab, Repository, Run, Run], tmp_path: Path) -> Iterator[Action]:
        lab, _, red, _ = place
        yield Action(lab, tmp_path)
        red.logs_expired = False
        lab.faults.clear()

    @pytest.fixture
    def token(self, place: tuple[Lab, Repository, Run, Run]) -> Any:
        return place[0].token(place[1], FULL)

    @pytest.fixture
    def red(self, place: tuple[Lab, Repository, Run, Run]) -> Run:
        return place[2]

    def test_an_event_that_cannot_be_read(self, action: Action, token: Any) -> None:
        failed(action(token), "event.json", "can't be read")
        (action.folder / "event.json").write_text("{not json")
        failed(action(token), "event.json", "not JSON")
        (action.folder / "event.json").write_text("[]")
        failed(action(token), "does not hold an event")
        failed(action(token, GITHUB_EVENT_PATH=""), "GITHUB_EVENT_PATH", "run-id")

    def skipped(self, action: Action, done: subprocess.CompletedProcess[str], *words: str) -> None:
        assert done.returncode == 0, done.stdout
        assert not said(done, "error")
        (line,) = said(done, "notice")
        assert action.outputs()["status"] == "skipped"
        for word in words:
            assert word in line and word in action.outputs()["reason"]
        assert action.summary.read_text()

    def test_events_with_nothing_to_do(self, action: Action, token: Any, place: tuple[Lab, Repository, Run, Run]) -> None:
        lab, repo, red, green = place
        self.skipped(action, action(token, red, GITHUB_EVENT_NAME="push"), "push", "workflow_run", "run-id")
        self.skipped(action, action(token, green), "not red")
        (action.folder / "event.json").write_text("{}")
        self.skipped(action, action(token), "no workflow_run")
        payload = lab.event(red)
        payload["workflow_run"].update(status="in_progress", conclusion=None)
        (action.folder / "event.json").write_text(json.dumps(payload))
        self.skipped(action, action(token), "not finished", "in_progress")

    @pytest.mark.parametrize("status", [410, 404])
    def test_logs_that_are_gone(self, action: Action, token: Any, red: Run, status: int) -> None:
        if status == 410:
            red.logs_expired = True
        else:
            action.lab.fault("GET", "/logs$", 404, times=9)
        done = action(token, red)
        assert done.returncode == 0
        assert any("no log of the failed jobs" in line for line in said(done, "warning"))
        assert action.outputs()["status"] == "failure"
        assert action.report()["notes"] == ["GitHub has no log of the failed jobs"]

    def test_a_token_that_is_not_valid(self, action: Action, red: Run, token: Any) -> None:
        failed(action("unknown", red), "401", "the token is not valid", "`token`")
        token.expired = True
        failed(action(token, red), "401", "`token`")

    def test_without_reading_actions_nothing_can_be_done(self, action: Action, red: Run) -> None:
        weak = action.lab.token("octo/demo", {**FULL, "actions": "none"})
        failed(action(weak, red), "403", "actions: read")

    @pytest.mark.parametrize("lacks", ["contents", "pull-requests"])
    def test_a_permission_that_is_missing_is_named_and_the_next_best_is_done(self, tmp_path: Path, lacks: str) -> None:
        with lab_or_skip(tmp_path / "lab") as lab:
            repo = lab.repository("octo/demo", scenarios.REMOVED_ACTION.files)
            red = lab.push(repo, {"README.md": "A change.\n"})
            lab.settle()
            assert red is not None
            action = Action(lab, tmp_path)
            done = action(lab.token(repo, {**FULL, lacks: "read"}), red)
            assert done.returncode == 0, done.stdout
            assert any("permission" in line and lacks.replace("-", "_") in line.replace("-", "_") for line in said(done, "warning")), done.stdout
            told = action.outputs()
            assert (told["decision"], told["root-cause"]) == ("fix", scenarios.REMOVED_ACTION.rule)
            if lacks == "contents":
                assert "upload-artifact" in Path(told["patch-path"]).read_text()
            else:
                assert told["branch"] in lab.branches(repo)
            assert not lab.pulls(repo)

    @pytest.mark.parametrize(
        ("inputs", "words"),
        [
            ({"INPUT_MODE": "pul-request"}, ["'mode'", "did you mean 'pull-request'?"]),
            ({"INPUT_RUN-ID": "latest"}, ["'run-id'", "whole number"]),
            ({"INPUT_DRY-RUN": "perhaps"}, ["'dry-run'", "neither true nor false"]),
            ({"INPUT_REPOSITORY": "demo"}, ["'demo'", "OWNER/NAME"]),
            ({"INPUT_CONFIG": "nope.yml"}, ["nope.yml", "main"]),
            ({"INPUT_RULES": "nope.yml"}, ["nope.yml", "main"]),
            ({"INPUT_RUN-ID": "999999"}, ["404", "actions: read"]),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    def test_an_input_that_is_wrong(self, action: Action, token: Any, red: Run, inputs: dict[str, str], words: list[str]) -> None:
        failed(action(token, red, **inputs), *words)

    def test_files_that_cannot_be_written(self, action: Action, token: Any, red: Run) -> None:
        for file in (action.output, action.summary):
            file.mkdir()
        done = action(token, red, **{"INPUT_DRY-RUN": "true"})
        assert done.returncode == 0, done.stdout
        warnings = said(done, "warning")
        assert any("outputs could not be written" in line for line in warnings), done.stdout
        assert any("summary could not be written" in line for line in warnings)
        assert list(action.workspace.glob("mcp_orchestrator_*_report.json"))

    def test_a_report_folder_that_cannot_be_made(self, action: Action, token: Any, red: Run) -> None:
        (action.workspace / "file").touch()
        done = action(token, red, **{"INPUT_DRY-RUN": "true", "INPUT_REPORT-DIR": "file/below"})
        assert done.returncode == 0, done.stdout
        assert any("report can't be written" in line and "report-dir" in line for line in said(done, "warning"))
        told = action.outputs()
        assert (told["report-path"], told["decision"]) == ("", "fix")
        assert action.summary.read_text()

    def test_a_configuration_on_the_default_branch_with_a_mistake(self, tmp_path: Path) -> None:
        with lab_or_skip(tmp_path / "lab") as lab:
            files = {**scenarios.REMOVED_ACTION.files, ".github/orchestrator.yml": "max-reruns: 1\nmod: report\n"}
            repo = lab.repository("octo/demo", files)
            red = lab.push(repo, {"README.md": "A change.\n"})
            lab.settle()
            done = Action(lab, tmp_path)(lab.token(repo, FULL), red)
            failed(done, ".github/orchestrator.yml:2:", "'mod'", "did you mean 'mode'?")


def test_the_demonstration_does_not_write_over_other_peoples_folders(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE / "repository", tmp_path / "mine")
    before = sorted(tmp_path.rglob("*"))
    done = python("-m", "orchestrator", "demo", "--folder", "mine", cwd=tmp_path)
    TestCommandLine.refused(done, "mine", "--folder")
    assert sorted(tmp_path.rglob("*")) == before
