"""The nouns of the pipeline: immutable values, no input or output, no third-party import.

``WorkflowRun``, ``WorkflowIssue`` and ``FixResult`` are what Python users and the JSON reports
see; the others pass between stages. Every stage returns new values and mutates none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, TypeAlias


class Category(StrEnum):
    """What kind of thing broke; the five words of the reports."""

    DEPENDENCY = "dependency"
    CODE = "code"
    CONFIGURATION = "configuration"
    INFRASTRUCTURE = "infrastructure"
    PERFORMANCE = "performance"


class Severity(StrEnum):
    """How much it matters. ``low`` alone never makes a run a failure."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Confidence(StrEnum):
    """How sure the diagnosis is. Only ``high`` is ever acted upon."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Safety(StrEnum):
    """``safe`` may be pushed when replayed; ``review`` is at most a pull request."""

    SAFE = "safe"
    REVIEW = "review"


class Decision(StrEnum):
    """What is done about an issue. Exactly one per issue, never a fifth."""

    FIX = "fix"
    RERUN = "rerun"
    GUIDANCE = "guidance"
    DECLINE = "decline"


class Mode(StrEnum):
    """How far a verified change goes."""

    REPORT = "report"
    PATCH = "patch"
    APPLY = "apply"
    COMMIT = "commit"
    PULL_REQUEST = "pull-request"
    PUSH = "push"


class Rung(StrEnum):
    """The verification ladder, lowest first."""

    PARSED = "parsed"
    CHECKED = "checked"
    REPLAYED = "replayed"
    OBSERVED = "observed"


RUNGS = tuple(Rung)


# --- what GitHub recorded -----------------------------------------------------------------


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


# --- logs ---------------------------------------------------------------------------------


class Zone(StrEnum):
    """Where in a job log a line stands; decides which rules may believe it."""

    RUNNER = "runner"  # the runner's own words: job set-up, annotations, clean-up
    OUTPUT = "output"  # what a step's tool printed
    ERROR = "error"  # an ``##[error]`` line inside a step
    POST = "post"  # post-job steps: seldom a cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One line that speaks for an issue. ``line`` counts from 1 in the file that was given."""

    line: int
    text: str
    source: str
    context: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A rule's pattern found on a line of a log, before anything is judged."""

    rule_id: str
    pattern: int
    evidence: Evidence
    captures: Mapping[str, str]
    zone: Zone
    step: int
    step_name: str
    job: Job | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTrace:
    """A step as the log shows it. ``command`` is the script echoed by the runner."""

    ordinal: int
    name: str
    command: str = ""
    first_line: int = 0
    exit_code: int | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogScan:
    """What one pass over one job log found."""

    source: str
    job: Job | None
    job_name: str
    matches: tuple[Match, ...]
    steps: tuple[StepTrace, ...]
    lines: int = 0
    bytes: int = 0
    last_error: Evidence | None = None


# --- diagnosis ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowIssue:
    """A rule's verdict on a run. ``issue_type`` is the rule's id; ``evidence[0]`` proves it."""

    run_id: str
    workflow_name: str
    job_name: str
    step_name: str
    issue_type: str
    error_message: str
    severity: str
    auto_fixable: bool
    fix_description: str
    fix_script: str
    detected_at: datetime
    status: str = "open"
    category: str = ""
    confidence: str = Confidence.LOW
    transient: bool = False
    fingerprint: str = ""
    evidence: tuple[Evidence, ...] = ()
    file: str | None = None
    file_line: int | None = None
    decision: str = Decision.GUIDANCE
    decision_reason: str = ""
    advice: str = ""
    captures: Mapping[str, str] = field(default_factory=dict)
    zone: str = Zone.OUTPUT
    command: str = ""
    job_id: int | None = None


# --- mending --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Splice:
    """Replace ``path[start:end]`` (characters), which must read ``old``, by ``new``.

    ``route`` is the place in a YAML file below which the value may change, and nowhere else.
    The same replacement may be given once for each of several routes that share it by an alias.
    """

    path: str
    start: int
    end: int
    old: str
    new: str
    route: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRun:
    """Run a tool in the sandbox and keep what it changed in ``claims`` (glob patterns).

    ``requirement`` is what ``uv tool run`` is asked for; ``argv[0]`` is the command in it.
    It runs in the folder ``cwd``; claims are relative to the repository's root nevertheless.
    """

    requirement: str
    argv: tuple[str, ...]
    claims: tuple[str, ...]
    cwd: str = "."
    network: bool = False
    env: Mapping[str, str] = field(default_factory=dict)


Operation: TypeAlias = Splice | ToolRun


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCheck:
    """A command that failed before the change and must pass after it."""

    requirement: str
    argv: tuple[str, ...]
    cwd: str = "."
    network: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """A mend as a value. Nothing is written until it is applied to a throw-away copy.

    ``permission`` is the one narrow scope that gate 3 may let through, as ``job:scope: level``.
    ``recipe`` is filled in by the plan, from the rule that asked for it.
    """

    title: str
    safety: Safety
    operations: tuple[Operation, ...]
    checks: tuple[ToolCheck, ...] = ()
    explanation: str = ""
    permission: str = ""
    recipe: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """Why a recipe does not act. ``unsafe`` when a safety rule, not ignorance, stopped it."""

    reason: str
    unsafe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFix:
    """A fix, bound to the issue that it mends."""

    issue: WorkflowIssue
    fix: Fix


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Every issue with its decision, root cause first, and at most what follows from them."""

    issues: tuple[WorkflowIssue, ...]
    fix: PlannedFix | None = None
    rerun: WorkflowIssue | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """One file before and after. ``None`` means that it does not exist on that side."""

    path: str
    before: bytes | None
    after: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a fix did to a throw-away copy."""

    planned: PlannedFix
    files: tuple[FileChange, ...]
    diff: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A change that a gate stopped, or that could not be made. Nothing of it remains."""

    planned: PlannedFix
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """One rung: passed, broken, or (``None``) not to be tried here, with a note why.

    ``before`` and ``after`` are the exit codes of ``command`` without and with the change.
    """

    rung: Rung
    passed: bool | None
    command: str = ""
    before: int | None = None
    after: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How far up the ladder a change came. ``failed`` names the rung that broke."""

    change: Change
    verification: tuple[Verification, ...]
    failed: str = ""

    @property
    def highest(self) -> Rung | None:
        """The highest rung that was passed."""
        passed = {v.rung for v in self.verification if v.passed}
        return next((rung for rung in reversed(RUNGS) if rung in passed), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What the world sees of a change or a re-run."""

    kind: Literal["none", "report", "patch", "apply", "commit", "pull-request", "push", "rerun"]
    url: str = ""
    branch: str = ""
    commit_sha: str = ""
    path: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixResult:
    """The outcome of one attempted fix, with everything that a reader needs to trust it."""

    issue: WorkflowIssue
    success: bool
    commit_sha: str | None = None
    error_message: str | None = None
    applied_at: datetime | None = None
    title: str = ""
    recipe: str = ""
    safety: str = Safety.REVIEW
    files: tuple[str, ...] = ()
    diff: str = ""
    verification: tuple[Verification, ...] = ()
    publication: Publication = field(default_factory=lambda: Publication(kind="none"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that one pass saw, decided and did."""

    runs: tuple[WorkflowRun, ...]
    issues: tuple[WorkflowIssue, ...]
    fixes: tuple[FixResult, ...] = ()
    publication: Publication = field(default_factory=lambda: Publication(kind="none"))
    duration_seconds: float = 0.0
    skipped: str = ""
    notes: tuple[str, ...] = ()

    @property
    def root_cause(self) -> WorkflowIssue | None:
        """The first issue, or ``None`` when nothing was recognised."""
        return self.issues[0] if self.issues else None

    @property
    def succeeded(self) -> bool:
        """Whether every red run was handled: mended, re-run, explained, or nothing was red."""
        return not self.runs or bool(self.issues) or bool(self.skipped)
