"""One look at a repository's recent runs: every red one is healed once."""

from __future__ import annotations

import time
from dataclasses import replace

from orchestrator import wiring
from orchestrator.edges.github import GitHubClient
from orchestrator.errors import ServiceError
from orchestrator.event import judge
from orchestrator.model import Report
from orchestrator.pipeline import Task, heal
from orchestrator.ports import Ports

_RUNS = 30


def sweep(
    repository: str, github: GitHubClient, task: Task, ports: Ports, seen: set[tuple[str, int]], *, own_workflow: str = ""
) -> Report:
    """One look at the recent runs. Every red run and attempt is handled once in a process.

    Only a branch's newest run of a workflow counts: an older red one is history.
    """
    started = time.monotonic()
    total = Report(runs=(), issues=())
    newest: set[tuple[str, str]] = set()
    for run in github.runs(repository, limit=_RUNS):
        line = (run.path or run.workflow_name, run.head_branch)
        if line in newest:
            continue
        newest.add(line)
        trigger = judge(run, own_workflow=own_workflow)
        if trigger.ignore or (run.run_id, run.attempt) in seen:
            continue
        ports.progress.stage(f"run {run.run_id} of {run.workflow_name} is red")
        try:
            trigger = wiring.with_jobs(trigger, github)
            assert trigger.run is not None
            one = heal(trigger, wiring.run_logs(trigger.run, github), task, ports)
        except ServiceError as failed:
            # The next sweep tries again; the other runs don't wait for it.
            total = replace(total, runs=(*total.runs, run), notes=(*total.notes, f"run {run.run_id}: {failed}"))
            continue
        seen.add((run.run_id, run.attempt))
        total = replace(
            total, runs=(*total.runs, *one.runs), issues=(*total.issues, *one.issues),
            fixes=(*total.fixes, *one.fixes), notes=(*total.notes, *one.notes), publication=one.publication,
        )  # fmt: skip
    return replace(total, duration_seconds=time.monotonic() - started)
