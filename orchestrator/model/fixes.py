"""A mend on its way from a value to something that the world sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from orchestrator.model.issues import WorkflowIssue
from orchestrator.model.words import RUNGS, Rung, Safety


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
    explanation: str = ""
    files: tuple[str, ...] = ()
    diff: str = ""
    verification: tuple[Verification, ...] = ()
    publication: Publication = field(default_factory=lambda: Publication(kind="none"))
