"""From an event's payload to a Trigger: which run, and what the trust gate allows.

Pure. Everything that is missing or unknown counts as untrusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.model import Trigger, WorkflowRun

BRANCH_PREFIX = "mcp-orchestrator/"
TRAILER = "Orchestrated-By: mcp-orchestrator"

_TRUSTED_EVENTS = frozenset({"push", "schedule", "workflow_dispatch", "pull_request"})
RED = frozenset({"failure", "timed_out", "startup_failure", "cancelled"})


def from_workflow_run(payload: Mapping[str, Any], *, own_workflow: str = "") -> Trigger:
    """The trigger of a ``workflow_run`` event.

    ``own_workflow`` is the path of the workflow that runs us (``GITHUB_WORKFLOW_REF`` without
    its repository and ref); our own runs never trigger us, whatever they are called.
    """
    raw = payload.get("workflow_run")
    if not isinstance(raw, Mapping) or "id" not in raw:
        return Trigger(ignore="the event has no workflow_run; trigger this action on workflow_run")
    run = run_from_api(raw)
    # Inside workflow_run the repository is abridged; the event's own has the default branch.
    branch = str((payload.get("repository") or {}).get("default_branch") or run.default_branch)
    return judge(replace(run, default_branch=branch), own_workflow=own_workflow)


def judge(run: WorkflowRun, *, own_workflow: str = "") -> Trigger:
    """Apply the gates that need nothing but the run itself."""
    path = run.path.split("@", 1)[0]
    if own_workflow and path in (own_workflow, f"{run.repository}/{own_workflow}"):
        return Trigger(run=run, ignore="this is the orchestrator's own workflow")
    if run.status != "completed":
        return Trigger(run=run, ignore=f"the run is not finished yet ({run.status or 'unknown'})")
    if run.conclusion not in RED:
        return Trigger(run=run, ignore=f"the run is not red ({run.conclusion or 'unknown'})")
    return Trigger(run=run, read_only=_distrust(run))


def _distrust(run: WorkflowRun) -> str:
    if run.head_repository_id is None or run.repository_id is None:
        return "the run's head repository is unknown or deleted"
    if run.head_repository_id != run.repository_id:
        return "the run's code comes from a fork"
    if run.event not in _TRUSTED_EVENTS:
        return f"runs of the event {run.event or 'unknown'!r} are not trusted with writes"
    if run.head_branch.startswith(BRANCH_PREFIX) or TRAILER in run.head_commit_message:
        return "the run tested one of the orchestrator's own changes"
    return ""


def run_from_api(raw: Mapping[str, Any]) -> WorkflowRun:
    """A run as GitHub's webhook and REST API give it (the two agree). Unknown stays empty."""
    repository = raw.get("repository") or {}
    head = raw.get("head_repository") or {}
    commit = raw.get("head_commit") or {}
    return WorkflowRun(
        run_id=str(raw["id"]),
        workflow_name=str(raw.get("name") or ""),
        status=str(raw.get("status") or ""),
        conclusion=raw.get("conclusion"),
        created_at=str(raw.get("created_at") or ""),
        updated_at=str(raw.get("updated_at") or ""),
        head_branch=str(raw.get("head_branch") or ""),
        head_sha=str(raw.get("head_sha") or ""),
        attempt=int(raw.get("run_attempt") or 1),
        event=str(raw.get("event") or ""),
        path=str(raw.get("path") or ""),
        repository=str(repository.get("full_name") or ""),
        repository_id=repository.get("id"),
        head_repository_id=head.get("id"),
        head_commit_message=str(commit.get("message") or ""),
        actor=str((raw.get("actor") or {}).get("login") or ""),
        default_branch=str(repository.get("default_branch") or ""),
        html_url=str(raw.get("html_url") or ""),
    )
