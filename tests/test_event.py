"""The trust gate: whose runs may be written for, and which runs are none of our business."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.event import BRANCH_PREFIX, TRAILER, from_workflow_run, run_from_api
from orchestrator.model import Trigger

OWN = ".github/workflows/heal.yml"
HERE = {"id": 1, "full_name": "octo/demo"}
FORK = {"id": 2, "full_name": "eve/demo"}


def payload(**run: Any) -> dict[str, Any]:
    """What GitHub sends when a run of this repository's own code has failed."""
    return {
        "action": "completed",
        "repository": {**HERE, "default_branch": "trunk"},
        "workflow_run": {
            "id": 7, "name": "CI", "path": ".github/workflows/ci.yml", "run_attempt": 2, "event": "push",
            "status": "completed", "conclusion": "failure", "head_branch": "main", "head_sha": "a" * 40,
            "repository": HERE, "head_repository": HERE, "head_commit": {"message": "Change"},
            "actor": {"login": "octocat"}, "html_url": "https://github.com/octo/demo/actions/runs/7", **run,
        },
    }  # fmt: skip


def triggered(**run: Any) -> Trigger:
    return from_workflow_run(payload(**run), own_workflow=OWN)


class TestTrust:
    @pytest.mark.parametrize("event", ["push", "schedule", "workflow_dispatch", "pull_request"])
    def test_code_of_this_repository_is_trusted(self, event: str) -> None:
        found = triggered(event=event)
        assert (found.ignore, found.read_only) == ("", "")

    @pytest.mark.parametrize(
        "event", ["pull_request_target", "issue_comment", "issues", "workflow_run", "repository_dispatch", "something_new", "", None]
    )
    def test_other_events_are_not(self, event: str | None) -> None:
        found = triggered(event=event)
        assert found.ignore == "" and (event or "unknown") in found.read_only

    @pytest.mark.parametrize("event", ["push", "schedule", "workflow_dispatch", "pull_request"])
    @pytest.mark.parametrize("branch", ["main", "trunk", "feature"])
    def test_code_of_a_fork_is_not_whatever_its_branch_is_called(self, event: str, branch: str) -> None:
        found = triggered(event=event, head_repository=FORK, head_branch=branch)
        assert found.ignore == "" and "fork" in found.read_only

    def test_names_are_no_proof(self) -> None:
        assert "fork" in triggered(head_repository={"id": 2, "full_name": "octo/demo"}).read_only
        assert triggered(head_repository={"id": 1, "full_name": "old-owner/demo"}).read_only == ""

    @pytest.mark.parametrize(
        "unknown",
        [{"head_repository": None}, {"head_repository": {}}, {"head_repository": {"full_name": "octo/demo"}}, {"repository": None},
         {"repository": {}}, {"repository": None, "head_repository": None}],
    )  # fmt: skip
    def test_what_is_not_known_is_not_trusted(self, unknown: dict[str, Any]) -> None:
        found = triggered(**unknown)
        assert found.ignore == "" and "unknown or deleted" in found.read_only

    def test_a_payload_without_a_head_repository_at_all(self) -> None:
        given = payload()
        del given["workflow_run"]["head_repository"]
        assert "unknown or deleted" in from_workflow_run(given).read_only


class TestLoops:
    @pytest.mark.parametrize("path", [OWN, f"{OWN}@refs/heads/main", f"octo/demo/{OWN}", f"octo/demo/{OWN}@refs/heads/x@y"])
    def test_our_own_workflow_never_triggers_us_whatever_it_is_called(self, path: str) -> None:
        assert "own workflow" in triggered(path=path, name="Renamed").ignore

    @pytest.mark.parametrize("path", [f"{OWN}.yml", "heal.yml", f"other/repo/{OWN}", ".github/workflows/ci.yml@refs/heads/heal.yml", ""])
    def test_another_workflow_does(self, path: str) -> None:
        assert triggered(path=path).ignore == ""

    def test_outside_a_workflow_no_run_is_our_own(self) -> None:
        assert from_workflow_run(payload(path=""), own_workflow="").ignore == ""

    def test_our_own_branch_is_only_reported(self) -> None:
        assert "own changes" in triggered(head_branch=f"{BRANCH_PREFIX}abc").read_only
        assert triggered(head_branch=f"fix/{BRANCH_PREFIX}abc").read_only == ""

    def test_our_own_commit_is_only_reported(self) -> None:
        assert "own changes" in triggered(head_commit={"message": f"Mend\n\n{TRAILER}\n"}).read_only


class TestRunsThatAreNotRed:
    @pytest.mark.parametrize("status", ["in_progress", "queued", "waiting", "", None])
    def test_a_run_that_is_not_finished_is_ignored(self, status: str | None) -> None:
        assert "not finished" in triggered(status=status, conclusion=None).ignore

    @pytest.mark.parametrize("conclusion", ["success", "neutral", "skipped", "stale", "action_required", None])
    def test_a_run_that_is_not_red_is_ignored(self, conclusion: str | None) -> None:
        assert "not red" in triggered(conclusion=conclusion).ignore

    @pytest.mark.parametrize("conclusion", ["failure", "timed_out", "startup_failure", "cancelled"])
    def test_a_red_one_is_not(self, conclusion: str) -> None:
        assert triggered(conclusion=conclusion).ignore == ""


class TestReading:
    @pytest.mark.parametrize("event", [{}, {"workflow_run": None}, {"workflow_run": "x"}, {"workflow_run": {"name": "CI"}}, {"repository": HERE}])
    def test_another_event_names_the_right_one(self, event: dict[str, Any]) -> None:
        found = from_workflow_run(event)
        assert found.run is None and "workflow_run" in found.ignore

    def test_the_run_is_read_whole(self) -> None:
        run = triggered().run
        assert run is not None
        assert (run.run_id, run.workflow_name, run.attempt, run.event, run.head_branch) == ("7", "CI", 2, "push", "main")
        assert (run.repository, run.repository_id, run.head_repository_id) == ("octo/demo", 1, 1)
        assert (run.actor, run.head_commit_message) == ("octocat", "Change")

    def test_the_default_branch_is_the_events(self) -> None:
        run = triggered(repository={**HERE, "default_branch": "old"}).run
        assert run is not None and run.default_branch == "trunk"
        alone = payload(repository={**HERE, "default_branch": "own"})
        del alone["repository"]
        run = from_workflow_run(alone).run
        assert run is not None and run.default_branch == "own"

    def test_nulls_are_empty_not_the_word_none(self) -> None:
        nulls = dict.fromkeys(payload()["workflow_run"])
        run = run_from_api({**nulls, "id": 9})
        texts = (run.workflow_name, run.status, run.head_branch, run.head_sha, run.event, run.path, run.repository,
                 run.actor, run.html_url, run.head_commit_message, run.default_branch, run.created_at)  # fmt: skip
        assert set(texts) == {""} and (run.attempt, run.repository_id, run.conclusion) == (1, None, None)
