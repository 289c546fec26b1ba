"""What GitHub recorded: runs, jobs, steps, and what woke us."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a job, as the jobs API lists it. Times are ISO 8601 or ``None``."""

    number: int
    name: str
    status: str = "completed"
    conclusion: str | None = None
    started_at: str | None = None
    completed_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job of one attempt. ``annotations`` are messages that never reach a log."""

    job_id: int
    name: str
    status: str = "completed"
    conclusion: str | None = None
    steps: tuple[Step, ...] = ()
    labels: tuple[str, ...] = ()
    runner_name: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    html_url: str | None = None
    annotations: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the job ended in a way that can turn a run red."""
        return self.conclusion in {"failure", "timed_out", "startup_failure", "cancelled"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRun:
    """One run at one attempt. ``head_repository_id`` is ``None`` for a deleted fork."""

    run_id: str
    workflow_name: str
    status: str = "completed"
    conclusion: str | None = None
    created_at: str = ""
    updated_at: str = ""
    head_branch: str = ""
    head_sha: str = ""
    jobs: tuple[Job, ...] = ()
    attempt: int = 1
    event: str = ""
    path: str = ""
    repository: str = ""
    repository_id: int | None = None
    head_repository_id: int | None = None
    head_commit_message: str = ""
    actor: str = ""
    default_branch: str = ""
    html_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What woke us: the run to look at, and what the gates allow us to do about it.

    ``ignore`` is the reason to do nothing at all; ``read_only`` the reason to report only.
    """

    run: WorkflowRun | None = None
    ignore: str = ""
    read_only: str = ""
