"""Short ways of building the values that pass between stages, for tests only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from orchestrator.catalogue.rule import Rule, rule_from_mapping
from orchestrator.model import (
    Change,
    Confidence,
    Evidence,
    FileChange,
    Fix,
    Job,
    PlannedFix,
    Safety,
    Verdict,
    WorkflowIssue,
    WorkflowRun,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
STAMP = "2026-11-22T10:11:12.1234567Z "


def rule(rule_id: str = "x/y", *patterns: str, **keys: Any) -> Rule:
    """A rule of the given patterns."""
    data = {"title": "T", "category": "code", "patterns": list(patterns) or ["boom"], **keys}
    return rule_from_mapping(rule_id, data, where="test")


def rules(*given: Rule) -> dict[str, Rule]:
    """Rules by id, as the stages take them."""
    return {one.id: one for one in given}


def run(**keys: Any) -> WorkflowRun:
    """A trustworthy red run."""
    return WorkflowRun(
        **{
            "run_id": "7", "workflow_name": "CI", "conclusion": "failure", "event": "push", "head_branch": "main",
            "head_sha": "a" * 40, "repository": "octo/demo", "repository_id": 1, "head_repository_id": 1,
            "path": ".github/workflows/ci.yml", "default_branch": "main", **keys,
        }
    )  # fmt: skip


def job(job_id: int = 1, name: str = "test", **keys: Any) -> Job:
    """A failed job."""
    return Job(**{"job_id": job_id, "name": name, "conclusion": "failure", **keys})


def issue(text: str = "boom", **keys: Any) -> WorkflowIssue:
    """An issue that is ready to be acted upon."""
    return WorkflowIssue(
        **{
            "run_id": "7", "workflow_name": "CI", "job_name": "test", "step_name": "Run x", "issue_type": "x/y",
            "error_message": text, "severity": "high", "auto_fixable": True, "fix_description": "A cause", "fix_script": "",
            "detected_at": NOW, "category": "code", "confidence": Confidence.HIGH, "fingerprint": "f" * 40,
            "evidence": (Evidence(line=3, text=text, source="job.txt"),), "decision": "guidance", **keys,
        }
    )  # fmt: skip


def planned(*operations: Any, **keys: Any) -> PlannedFix:
    """A planned fix of the given operations."""
    given: Mapping[str, Any] = {"title": "Mend it", "safety": Safety.SAFE, "recipe": "r", **keys}
    return PlannedFix(issue=issue(), fix=Fix(operations=operations, **given))


def change(path: str, before: str | bytes | None, after: str | bytes | None, **fix: Any) -> Change:
    """A change of one file."""
    return changes(FileChange(path=path, before=_bytes(before), after=_bytes(after)), **fix)


def changes(*files: FileChange, **fix: Any) -> Change:
    """A change of several files with its real diff."""
    from orchestrator.apply import unified_diff

    return Change(planned=planned(**fix), files=files, diff="".join(map(unified_diff, files)))


def verdict(one: Change, *verification: Any, failed: str = "") -> Verdict:
    """A verdict on a change."""
    return Verdict(change=one, verification=verification, failed=failed)


def _bytes(text: str | bytes | None) -> bytes | None:
    return text.encode() if isinstance(text, str) else text
