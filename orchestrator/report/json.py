"""The JSON contract: ``diagnose --format json``, ``heal --report`` and the report files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

from orchestrator.model import FixResult, Report, WorkflowIssue
from orchestrator.redact import redact

SCHEMA_VERSION = 1
_TEXT_LIMIT = 2000
_INTERNAL = frozenset({"captures", "zone", "command"})


def as_dict(report: Report, *, known_secrets: tuple[str, ...] = ()) -> dict[str, Any]:
    """The report as plain data, redacted. The keys are a contract."""
    plain = {
        "schema_version": SCHEMA_VERSION,
        "status": "SUCCESS" if report.succeeded else "FAILURE",
        "monitoring_duration_seconds": round(report.duration_seconds, 3),
        "issues_found": len(report.issues),
        "fixes_applied": sum(fix.success for fix in report.fixes),
        "runs": [_plain(run) for run in report.runs],
        "issues": [_issue(issue) for issue in report.issues],
        "fixes": [_fix(fix) for fix in report.fixes],
        "publication": _plain(report.publication),
        "skipped": report.skipped,
        "notes": list(report.notes),
    }
    redacted: dict[str, Any] = _redacted(plain, known_secrets)
    return redacted


def dumps(report: Report, *, known_secrets: tuple[str, ...] = ()) -> str:
    """The report as JSON text with a final newline."""
    return json.dumps(as_dict(report, known_secrets=known_secrets), indent=2, ensure_ascii=False) + "\n"


def _issue(issue: WorkflowIssue) -> dict[str, Any]:
    return {name: value for name, value in _plain(issue).items() if name not in _INTERNAL}


def _fix(fix: FixResult) -> dict[str, Any]:
    return {**_plain(fix), "issue": {"issue_type": fix.issue.issue_type, "fingerprint": fix.issue.fingerprint}}


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return str(value)
    return value


def _redacted(value: Any, known: tuple[str, ...], key: str = "") -> Any:
    if isinstance(value, str):
        # Diffs and patches must stay whole to be of use; everything else is for reading.
        # A secret that was cut in two would not be recognised, so it is cut last.
        clean = redact(value, known).encode("utf-8", "replace").decode()
        return clean if key == "diff" else clean[:_TEXT_LIMIT]
    if isinstance(value, dict):
        return {name: _redacted(item, known, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_redacted(item, known) for item in value]
    return value
