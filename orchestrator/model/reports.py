"""Everything that one pass saw, decided and did."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.model.fixes import FixResult, Publication
from orchestrator.model.issues import WorkflowIssue
from orchestrator.model.runs import WorkflowRun


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
