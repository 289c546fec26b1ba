"""What a log shows, and what is concluded from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from orchestrator.model.runs import Job
from orchestrator.model.words import Confidence, Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLog:
    """One log to read: its name in evidence, its bytes, and what the API says of its job."""

    source: str
    blocks: Iterable[bytes]
    job: Job | None = None


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
