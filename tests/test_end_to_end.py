"""Red run → ``workflow_run`` event → the action → pull request or re-run → green, on the lab.

The workflow that calls the action is the one from ``examples/`` that users copy. Where a Docker
engine can start the action runs in its container; else its entry point runs under the runner's
environment, and that is said.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import scenarios
from lab import Lab, lab_or_skip
from lab.engine import Engine, start
from lab.model import Repository, Run
from scenarios import Scenario

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
HEAL = ".github/workflows/heal.yml"
APP = {"actions": "write", "checks": "read", "contents": "write", "pull-requests": "write", "workflows": "write"}


@pytest.fixture(scope="module")
def engine() -> Engine | None:
    """The Docker engine, or ``None`` after saying loudly why there is none."""
    return start()


@pytest.fixture
def lab(tmp_path: Path, engine: Engine | None) -> Iterator[Lab]:
    with lab_or_skip(tmp_path, engine=engine) as one:
        yield one


def arrange(lab: Lab, scenario: Scenario) -> tuple[Repository, Run]:
    """The scenario's repository with the users' workflow in it, and its red run."""
    example = "with-app-token.yml" if scenario.app_token else "on-failure.yml"
    files = {path: text.replace("{index}", lab.registry.index_url) for path, text in scenario.files.items()}
    repo = lab.repository("octo/demo", {**files, HEAL: (EXAMPLES / example).read_text()})
    if scenario.app_token:
        lab.secret(repo, "HEAL_APP_PRIVATE_KEY", str(lab.token(repo, APP, kind="app")))
    if scenario.prepare:
        scenario.prepare(lab)
    run = lab.push(repo, {"README.md": "A change.\n"}, message="Change something")
    assert run is not None
    return repo, run


def ours(lab: Lab, repo: Repository) -> Run:
    """The first run of the users' workflow."""
    return min((run for run in lab.runs(repo) if run.name == "Heal"), key=lambda run: run.id)


def ids(scenario: Scenario) -> str:
    return scenario.name.replace(" ", "-")


MENDED = [s for s in scenarios.ALL if s.decision == "fix"]
LEFT_ALONE = [s for s in scenarios.ALL if s.decision in ("guidance", "decline")]


@pytest.mark.parametrize("scenario", MENDED, ids=ids)
def test_a_mendable_failure_becomes_a_green_pull_request(lab: Lab, scenario: Scenario) -> None:
    repo, red = arrange(lab, scenario)
    before = lab.files(repo)
    lab.settle()
    assert red.conclusion == "failure"
    assert ours(lab, repo).conclusion == "success", ours(lab, repo).report
    (pull,) = lab.pulls(repo)
    after = lab.files(repo, pull.head)
    assert {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)} == set(scenario.expected)
    for path, text in scenario.expected.items():
        assert text in after[path]
    checks = [run for run in lab.runs(repo) if run.name == "CI" and run.head_branch == pull.head]
    assert checks and {run.conclusion for run in checks} == {"success"}, [run.report for run in checks]
    assert lab.files(repo) == before, "the branch that failed is left as it was"
    body = pull.body or ""
    assert scenario.rule in body
    for rung in scenario.rungs:
        assert f"| {rung} | ✅" in body, body


@pytest.mark.parametrize("scenario", LEFT_ALONE, ids=ids)
def test_what_is_guided_or_declined_leaves_the_repository_untouched(lab: Lab, scenario: Scenario) -> None:
    repo, red = arrange(lab, scenario)
    branches, runs = lab.branches(repo), len(lab.runs(repo))
    lab.settle()
    assert red.conclusion == "failure"
    assert ours(lab, repo).conclusion == "success", ours(lab, repo).report
    assert not lab.pulls(repo) and not lab.issues(repo)
    assert lab.branches(repo) == branches
    assert len(lab.runs(repo)) == runs + 1, "only the orchestrator's own run came of it"
    assert red.attempt == 1
    writes = [r for r in lab.requests if r.method != "GET"]
    assert not writes, writes


def test_a_transient_failure_is_run_again_and_turns_green(lab: Lab) -> None:
    repo, red = arrange(lab, scenarios.TRANSIENT)
    branches = lab.branches(repo)
    lab.settle()
    assert [attempt.conclusion for attempt in red.attempts] == ["failure", "success"]
    assert (red.attempt, red.conclusion) == (2, "success")
    assert lab.branches(repo) == branches and not lab.pulls(repo)


def test_healing_twice_ends_in_one_pull_request(lab: Lab) -> None:
    repo, red = arrange(lab, scenarios.REMOVED_ACTION)
    lab.settle()
    (pull,) = lab.pulls(repo)
    lab.rerun(ours(lab, repo), None, "octocat")
    lab.settle()
    assert [p.number for p in lab.pulls(repo)] == [pull.number]


def test_a_run_from_a_fork_is_only_reported(lab: Lab) -> None:
    scenario = scenarios.FORMATTER
    example = (EXAMPLES / "with-app-token.yml").read_text()
    good = {**scenario.files, "app.py": 'x = {"a": 1}\n'}
    repo = lab.repository("octo/demo", {**good, HEAL: example})
    lab.secret(repo, "HEAL_APP_PRIVATE_KEY", str(lab.token(repo, APP, kind="app")))
    fork = lab.fork(repo, "mallory")
    lab.push(fork, {"app.py": scenario.files["app.py"]}, branch="main")
    lab.settle()
    pull = lab.pull_request(repo, "mallory:main")
    lab.settle()
    (red,) = [run for run in lab.runs(repo) if run.name == "CI" and run.event == "pull_request"]
    assert red.conclusion == "failure"
    assert ours(lab, repo).conclusion == "success"
    assert [p.number for p in lab.pulls(repo)] == [pull.number]
    assert not [r for r in lab.requests if r.method != "GET" and r.token == "app"]


def test_the_workflows_own_token_cannot_mend_workflow_files_and_leaves_a_patch(lab: Lab) -> None:
    scenario = scenarios.REMOVED_ACTION
    heal = (EXAMPLES / "on-failure.yml").read_text()
    repo = lab.repository("octo/demo", {**scenario.files, HEAL: heal})
    lab.push(repo, {"README.md": "A change.\n"})
    lab.settle()
    assert not lab.pulls(repo)
    assert ours(lab, repo).conclusion == "success"
    assert "workflows" in json.dumps(ours(lab, repo).report) or "workflow" in ours(lab, repo).report


def test_a_failure_that_keeps_coming_back_is_mended_within_a_budget(lab: Lab) -> None:
    repo, red = arrange(lab, scenarios.REMOVED_ACTION)
    lab.settle()
    for number in range(5):
        for pull in lab.pulls(repo):
            pull.issue.state = "closed"
        lab.push(repo, {"README.md": f"Change {number}.\n"})
        lab.settle()
    assert len(lab.pulls(repo)) == 3, "three attempts, each turned down, and no more"
    assert len([name for name in lab.branches(repo) if name.startswith("mcp-orchestrator/")]) == 3
    assert {run.conclusion for run in lab.runs(repo) if run.name == "Heal"} <= {"success", "skipped"}


def test_a_pass_that_was_cut_off_after_its_push_is_completed(lab: Lab) -> None:
    repo, red = arrange(lab, scenarios.REMOVED_ACTION)
    lab.fault("POST", "/pulls$", 500)
    lab.settle()
    assert not lab.pulls(repo)
    branches = lab.branches(repo)
    assert any(name.startswith("mcp-orchestrator/") for name in branches)
    lab.rerun(ours(lab, repo), None, "octocat")
    lab.settle()
    assert len(lab.pulls(repo)) == 1
    assert lab.branches(repo) == branches, "the branch that was there is the one that is used"
