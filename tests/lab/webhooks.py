"""Webhook payloads, as GitHub writes them into event.json."""

from __future__ import annotations

from typing import Any

from . import store
from .model import PullRequest, Repository, Run
from .shapes import Json, Shapes


def common(shapes: Shapes, repo: Repository, sender: str) -> Json:
    return {"repository": shapes.repository(repo, full=True), "sender": shapes.user(sender)}


def push(shapes: Shapes, repo: Repository, ref: str, old: str, new: str, sender: str) -> Json:
    head = shapes.commit(repo, new) if new != store.ZERO else None
    return {
        "ref": ref,
        "before": old,
        "after": new,
        "created": old == store.ZERO,
        "deleted": new == store.ZERO,
        "forced": False,
        "base_ref": None,
        "compare": f"{shapes.server}/{repo.full_name}/compare/{old[:12]}...{new[:12]}",
        "commits": [head] if head else [],
        "head_commit": head,
        "pusher": {"name": sender, "email": f"{sender}@users.noreply.github.com"},
        **common(shapes, repo, sender),
    }


def pull_request(shapes: Shapes, repo: Repository, pull: PullRequest, action: str, sender: str) -> Json:
    return {
        "action": action,
        "number": pull.number,
        "pull_request": shapes.pull(repo, pull, full=True),
        **common(shapes, repo, sender),
    }


def schedule(shapes: Shapes, repo: Repository, cron: str, path: str) -> Json:
    return {"schedule": cron, "workflow": path, **common(shapes, repo, repo.owner)}


def workflow_dispatch(shapes: Shapes, repo: Repository, path: str, ref: str, inputs: Json, sender: str) -> Json:
    return {"inputs": inputs or None, "ref": ref, "workflow": path, **common(shapes, repo, sender)}


def workflow_run(shapes: Shapes, run: Run, action: str = "completed") -> Json:
    repo = run.repository
    shape: dict[str, Any] = shapes.run(run)
    if action == "completed":
        shape["status"] = "completed"
    return {
        "action": action,
        "workflow_run": shape,
        "workflow": shapes.workflow(repo, run.workflow),
        **common(shapes, repo, run.actor),
    }
