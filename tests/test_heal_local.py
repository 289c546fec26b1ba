"""The same failures on the command line: ``orchestrator heal LOG --repo DIR``, no GitHub.

The red runs are recorded in the lab first, by really running the workflows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import scenarios
from lab import lab_or_skip
from scenarios import Scenario

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]

PROJECT = Path(__file__).resolve().parents[1]
LOCAL = [scenario for scenario in scenarios.ALL if scenario.local]


def ids(scenario: Scenario) -> str:
    return scenario.name.replace(" ", "-")


def orchestrator(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(PROJECT), "NO_COLOR": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "orchestrator", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False, timeout=380)


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.invalid"]
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def recorded(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Scenario, Path, Path]:
    """A scenario's repository as a work tree, and the log of its red run."""
    scenario: Scenario = request.param
    with lab_or_skip(tmp_path) as lab:
        repo = lab.repository("octo/demo", scenario.files)
        run = lab.push(repo, {"README.md": "A change.\n"})
        lab.settle()
        assert run is not None and run.conclusion == "failure"
        log = tmp_path / "job.log"
        log.write_bytes(lab.record(run))
        files = lab.files(repo)
    folder = tmp_path / "repository"
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "As it failed")
    return scenario, folder, log


@pytest.mark.parametrize("recorded", LOCAL, ids=ids, indirect=True)
def test_a_recorded_run_is_healed_in_the_work_tree(recorded: tuple[Scenario, Path, Path], tmp_path: Path) -> None:
    scenario, folder, log = recorded
    report = tmp_path / "report.json"
    done = orchestrator("heal", log, "--repo", folder, "--report", report, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(report.read_text())
    root = told["issues"][0]
    assert (root["issue_type"], root["decision"]) == (scenario.rule, scenario.decision), root["decision_reason"]
    line = root["evidence"][0]["line"]
    assert root["evidence"][0]["text"] in log.read_text("utf-8-sig").split("\n")[line - 1]
    changed = {entry[3:] for entry in git(folder, "status", "--porcelain").splitlines()}
    assert changed == set(scenario.expected)
    for path, text in scenario.expected.items():
        assert text in (folder / path).read_text()
    if scenario.decision == "fix":
        climbed = [v["rung"] for v in told["fixes"][0]["verification"] if v["passed"]]
        assert climbed == list(scenario.rungs)
        again = orchestrator("heal", log, "--repo", folder, "--report", report, cwd=tmp_path)
        assert again.returncode == 0, again.stdout + again.stderr
        told = json.loads(report.read_text())
        assert told["issues"][0]["decision"] != "fix", "healing a healed repository makes no change"
        assert {entry[3:] for entry in git(folder, "status", "--porcelain").splitlines()} == changed


@pytest.mark.parametrize("recorded", [scenarios.REMOVED_ACTION], ids=ids, indirect=True)
def test_a_file_with_uncommitted_changes_is_not_touched(recorded: tuple[Scenario, Path, Path], tmp_path: Path) -> None:
    _, folder, log = recorded
    workflow = folder / scenarios.CI
    workflow.write_text(workflow.read_text() + "# mine\n")
    mine = workflow.read_text()
    done = orchestrator("heal", log, "--repo", folder, cwd=tmp_path)
    assert done.returncode == 2
    assert "uncommitted changes" in done.stderr.splitlines()[-1]
    assert workflow.read_text() == mine


@pytest.mark.parametrize("recorded", [scenarios.REMOVED_ACTION], ids=ids, indirect=True)
def test_commit_mode_makes_a_branch_and_leaves_the_work_tree(recorded: tuple[Scenario, Path, Path], tmp_path: Path) -> None:
    _, folder, log = recorded
    done = orchestrator("heal", log, "--repo", folder, "--mode", "commit", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert git(folder, "status", "--porcelain") == ""
    (branch,) = git(folder, "for-each-ref", "--format=%(refname:short)", "refs/heads/mcp-orchestrator").split()
    assert git(folder, "diff", "--name-only", "main", branch).split() == [scenarios.CI]


@pytest.mark.parametrize("recorded", [scenarios.REMOVED_ACTION], ids=ids, indirect=True)
def test_patch_mode_leaves_a_patch_that_applies(recorded: tuple[Scenario, Path, Path], tmp_path: Path) -> None:
    _, folder, log = recorded
    done = orchestrator("heal", log, "--repo", folder, "--mode", "patch", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (patch,) = tmp_path.glob("*.patch")
    assert git(folder, "status", "--porcelain") == ""
    git(folder, "apply", str(patch))
    assert git(folder, "diff", "--name-only").split() == [scenarios.CI]
