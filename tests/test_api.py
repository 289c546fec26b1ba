"""The Python API, and the monitor, on the lab with a real red run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import scenarios
from lab import Lab, lab_or_skip
from lab.model import Repository, Run

from orchestrator import Orchestrator
from orchestrator.errors import UsageError

pytestmark = pytest.mark.lab
PROJECT = Path(__file__).resolve().parents[1]
APP = {"actions": "write", "checks": "read", "contents": "write", "pull-requests": "write", "workflows": "write"}
SCENARIO = scenarios.REMOVED_ACTION


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with lab_or_skip(tmp_path / "lab") as one:
        yield one


@pytest.fixture
def repo(lab: Lab) -> Repository:
    return lab.repository("octo/demo", SCENARIO.files)


@pytest.fixture
def red(lab: Lab, repo: Repository) -> Run:
    run = lab.push(repo, {"README.md": "A change.\n"})
    lab.push(repo, {scenarios.CI: scenarios.workflow("- run: echo fine")}, branch="green")
    lab.settle()
    assert run is not None and run.conclusion == "failure"
    return run


@pytest.fixture
def orchestrator(lab: Lab, repo: Repository, red: Run, tmp_path: Path) -> Iterator[Orchestrator]:
    environ = {**os.environ, **lab.env(lab.token(repo, APP))}
    with Orchestrator("octo/demo", environ=environ, report_dir=tmp_path) as one:
        yield one


def test_runs_logs_and_issues_are_read(lab: Lab, orchestrator: Orchestrator, red: Run) -> None:
    runs = orchestrator.get_workflow_runs()
    assert {run.conclusion for run in runs} == {"failure", "success"}
    assert len(orchestrator.get_workflow_runs(limit=1)) == 1
    (failed,) = orchestrator.get_failed_runs()
    assert (failed.run_id, failed.workflow_name, [job.name for job in failed.jobs]) == (str(red.id), "CI", ["build"])
    assert orchestrator.get_failed_runs([run for run in runs if run.conclusion == "success"]) == []
    logs = orchestrator.download_run_logs(failed)
    assert logs == {"build": lab.record(red)}
    issues = orchestrator.analyze_logs_for_issues(failed, logs)
    assert issues[0].issue_type == SCENARIO.rule and issues[0].category == "configuration"
    assert [request for request in lab.requests if request.method != "GET"] == [], "reading writes nothing"


def test_a_fix_opens_the_pull_request_once(lab: Lab, repo: Repository, orchestrator: Orchestrator) -> None:
    (failed,) = orchestrator.get_failed_runs()
    issue = orchestrator.analyze_logs_for_issues(failed, orchestrator.download_run_logs(failed))[0]
    for wrong in (orchestrator.apply_dependency_fix, orchestrator.apply_code_fix):
        with pytest.raises(UsageError, match=f"{SCENARIO.rule} is a configuration issue"):
            wrong(issue, failed)
    assert not lab.pulls(repo)
    result = orchestrator.apply_workflow_config_fix(issue, failed)
    assert result.success, result.error_message
    (pull,) = lab.pulls(repo)
    assert result.commit_sha == lab.branches(repo)[pull.head]
    assert SCENARIO.expected[scenarios.CI] in lab.files(repo, pull.head)[scenarios.CI]
    again = orchestrator.apply_workflow_config_fix(issue, failed)
    assert again.publication.url == result.publication.url
    assert len(lab.pulls(repo)) == 1


def test_monitoring_heals_each_run_once(lab: Lab, repo: Repository, orchestrator: Orchestrator) -> None:
    report = orchestrator.monitor_and_fix_workflows()
    assert [fix.success for fix in report.fixes] == [True]
    lab.settle()
    state = (len(lab.pulls(repo)), lab.branches(repo), len(lab.runs(repo)))
    second = orchestrator.monitor_and_fix_workflows(sweeps=2)
    assert second.fixes == ()
    assert (len(lab.pulls(repo)), lab.branches(repo), len(lab.runs(repo))) == state


def test_it_says_what_it_needs() -> None:
    with pytest.raises(UsageError, match="owner/name"):
        Orchestrator("demo", "token", environ={})
    with pytest.raises(UsageError, match="token"):
        Orchestrator("octo/demo", environ={})


def test_the_monitors_second_sweep_does_nothing_new(lab: Lab, repo: Repository, red: Run, tmp_path: Path) -> None:
    environ = {**os.environ, **lab.env(lab.token(repo, APP)), "PYTHONPATH": str(PROJECT), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "orchestrator", "monitor", "--repo", "octo/demo", "--once", "--report-dir", str(tmp_path / "out")]
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        lab.settle()
        assert len(lab.pulls(repo)) == 1
        assert len([name for name in lab.branches(repo) if name.startswith("mcp-orchestrator/")]) == 1
    told = json.loads((tmp_path / "out" / "mcp_orchestrator_success_report.json").read_text())
    assert told["issues"][0]["issue_type"] == SCENARIO.rule
    log = (tmp_path / "out" / "mcp_orchestrator.log").read_text()
    assert str(red.id) in log and environ["GITHUB_TOKEN"] not in log
