"""The whole pass, and what is left of it when a part of the world does not answer."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import Files, git
from values import NOW, STAMP, rule, rules, run

from orchestrator.edges import yaml
from orchestrator.edges.checker import Actionlint
from orchestrator.edges.git import clone, open_local
from orchestrator.edges.github import GitHubClient
from orchestrator.edges.sandbox import ProcessSandbox
from orchestrator.model import Decision, JobLog, Mode, Trigger, WorkflowRun
from orchestrator.pipeline import Task, diagnose, heal
from orchestrator.ports import Ports, Repository
from orchestrator.sweep import sweep
from orchestrator.workflow import fits

NOWHERE = "http://127.0.0.1:1"
CI = ".github/workflows/ci.yml"
OLD = "on: push\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/upload-artifact@v3\n        with: {name: x, path: x}\n"
REMOVED = rule(
    "actions/removed-action-version", r"deprecated version of `(?P<action>[\w.-]+/[\w./-]+): (?P<version>[\w.-]+)`", zones=["runner"],
    fix={"recipe": "workflow-action-version", "with": {"actions": {"actions/upload-artifact": {"removed": [3], "target": 6}}}},
)  # fmt: skip
REFUSAL = f"{STAMP}##[error]This request has been automatically failed because it uses a deprecated version of `actions/upload-artifact: v3`.\n"


@pytest.fixture
def ports() -> Iterator[Callable[..., Ports]]:
    sandbox = ProcessSandbox(os.environ)

    def make(**keys: Any) -> Ports:
        return Ports(now=NOW, parse_yaml=yaml.parse, checker=Actionlint(), sandbox=sandbox, **keys)

    yield make
    sandbox.close()


def log(text: str) -> list[JobLog]:
    return [JobLog(source="job.txt", blocks=[text.encode()])]


def task(*given: Any, **keys: Any) -> Task:
    return Task(rules=rules(*given), **{"mode": Mode.APPLY, **keys})


class TestHeal:
    def test_a_mend_in_the_users_work_tree(self, make_repo: Callable[[Files], Path], ports: Callable[..., Ports]) -> None:
        repo = make_repo({CI: OLD})
        report = heal(Trigger(), log(REFUSAL), task(REMOVED), ports(open_repository=lambda _: open_local(repo)))
        assert (report.issues[0].decision, report.issues[0].status) == (Decision.FIX, "fixed")
        assert git(repo, "diff", "--unified=0").splitlines()[-2:] == [
            "-      - uses: actions/upload-artifact@v3", "+      - uses: actions/upload-artifact@v6",
        ]  # fmt: skip

    @pytest.mark.parametrize("keys", [{"dry_run": True}, {"mode": Mode.REPORT}])
    def test_nothing_is_written_when_nothing_shall_be(
        self, make_repo: Callable[[Files], Path], ports: Callable[..., Ports], keys: dict[str, Any]
    ) -> None:
        repo = make_repo({CI: OLD})
        report = heal(Trigger(), log(REFUSAL), task(REMOVED, **keys), ports(open_repository=lambda _: open_local(repo)))
        assert report.fixes[0].error_message is None
        assert "upload-artifact@v6" in report.fixes[0].diff
        assert git(repo, "status", "--porcelain") == ""

    @pytest.mark.parametrize("trigger", [Trigger(run=run(), read_only="the run's code comes from a fork"), Trigger(run=run(), ignore="green")])
    def test_what_may_not_be_trusted_is_not_even_opened(self, ports: Callable[..., Ports], trigger: Trigger) -> None:
        opened: list[WorkflowRun] = []

        def open_repository(one: WorkflowRun) -> Repository:
            opened.append(one)
            raise AssertionError("it must not be opened")

        report = heal(trigger, log(REFUSAL), task(REMOVED), ports(open_repository=open_repository))
        assert opened == [] and report.fixes == ()
        assert report.skipped == "green" or report.issues[0].decision == Decision.DECLINE

    def test_a_forged_line_opens_nothing(self, ports: Callable[..., Ports]) -> None:
        forged = f"{STAMP}##[group]Run make\n{STAMP}make\n{STAMP}##[endgroup]\n{REFUSAL}"
        report = heal(Trigger(run=run()), log(forged), task(REMOVED), ports(open_repository=lambda _: pytest.fail("opened")))
        assert report.issues[0].decision == Decision.DECLINE

    def test_a_repository_that_can_not_be_had_costs_the_mend_not_the_report(self, ports: Callable[..., Ports]) -> None:
        def open_repository(one: WorkflowRun) -> Repository:
            return clone(NOWHERE, one.repository, one.head_sha, "")

        report = heal(Trigger(run=run()), log(REFUSAL), task(REMOVED), ports(open_repository=open_repository))
        assert report.issues[0].issue_type == REMOVED.id and report.issues[0].decision == Decision.GUIDANCE
        assert "could not be read" in report.notes[0]

    def test_a_rerun_that_is_refused_costs_the_rerun_not_the_report(self, ports: Callable[..., Ports]) -> None:
        github = GitHubClient(NOWHERE, "")
        report = heal(Trigger(run=run()), log("boom\n"), task(rule(transient=True)), ports(github=github))
        github.close()
        assert report.issues[0].issue_type == "x/y" and report.publication.kind == "none"
        assert "gh run rerun 7 --failed" in report.publication.note

    def test_without_a_log_nothing_is_known_and_that_is_said(self, ports: Callable[..., Ports]) -> None:
        report, scans = diagnose(Trigger(run=run()), [], task(rule()), ports())
        assert not report.issues and not scans and "no log" in report.notes[0]


class TestSweep:
    @pytest.fixture
    def server(self) -> Iterator[tuple[str, dict[str, Any]]]:
        answers: dict[str, Any] = {}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = answers.get(self.path.split("?")[0])
                content = found if isinstance(found, bytes) else json.dumps(found if found is not None else {"message": "no"}).encode()
                self.send_response(403 if found is None else 200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
            threading.Thread(target=http.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{http.server_port}", answers
            http.shutdown()

    def test_one_run_that_can_not_be_read_does_not_stop_the_others(
        self, server: tuple[str, dict[str, Any]], ports: Callable[..., Ports]
    ) -> None:
        url, answers = server
        repository = {"id": 1, "full_name": "octo/demo"}
        raw = {"name": "CI", "status": "completed", "conclusion": "failure", "run_attempt": 1, "event": "push",
               "repository": repository, "head_repository": repository}  # fmt: skip
        base = "/repos/octo/demo/actions"
        answers[f"{base}/runs"] = {"workflow_runs": [{**raw, "id": n, "path": f"{n}.yml", "head_branch": "main"} for n in (1, 2)]}
        answers[f"{base}/runs/2/attempts/1/jobs"] = {
            "jobs": [{"id": 5, "name": "test", "status": "completed", "conclusion": "failure", "steps": [{"number": 1, "name": "x", "status": "completed"}]}]
        }
        answers[f"{base}/jobs/5/logs"] = b"boom\n"
        github = GitHubClient(url, "")
        seen: set[tuple[str, int]] = set()
        first = sweep("octo/demo", github, task(rule()), ports(github=github), seen)
        assert [one.run_id for one in first.runs] == ["1", "2"] and len(first.issues) == 1
        assert first.notes[0].startswith("run 1: ") and seen == {("2", 1)}
        answers[f"{base}/runs/1/attempts/1/jobs"] = {"jobs": []}
        assert [one.run_id for one in sweep("octo/demo", github, task(rule()), ports(github=github), seen).runs] == ["1"]
        github.close()


@pytest.mark.parametrize(
    ("template", "text", "fit"),
    [
        ("make", "make", True), ("make", "make x", False), ("a ${{ x }} b", "a 1 b", True), ("a ${{ x }} b", "a  b", True),
        ("a ${{ x }} b", "a 1 c", False), ("${{ x }}", "", True), ("a${{ x }}a", "a", False), ("a${{ x }}b${{ y }}b", "ab", False),
        ("a${{ x }}b${{ y }}b", "abb", True), ("${{ x }}b${{ y }}", "aabaa", True), ("x${{\n y\n }}z", "x\nz", True),
        ("a.c", "abc", False), ("${{ a }}${{ b }}", "any", True),
    ],
)  # fmt: skip
def test_a_script_with_expressions_fits_what_was_run(template: str, text: str, fit: bool) -> None:
    assert fits(template, text) is fit


@pytest.mark.timeout(10)
def test_many_expressions_take_linear_time() -> None:
    assert not fits("${{ x }}a" * 50 + "!", "a" * 100_000)
