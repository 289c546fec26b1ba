"""SARIF 2.1.0, for code scanning and editors."""

from __future__ import annotations

import json
from typing import Any

from orchestrator import __version__
from orchestrator.model import Report, Severity, WorkflowIssue
from orchestrator.redact import redact

_LEVEL = {Severity.CRITICAL: "error", Severity.HIGH: "error", Severity.MEDIUM: "warning", Severity.LOW: "note"}


def dumps(report: Report) -> str:
    """One run with one result an issue; located in the repository's file where that is known."""
    rules = {issue.issue_type: {"id": issue.issue_type, "shortDescription": {"text": redact(issue.fix_description)}} for issue in report.issues}
    driver = {"name": "mcp-orchestrator", "version": __version__, "rules": list(rules.values())}
    results = [_result(issue) for issue in report.issues]
    sarif = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(sarif, indent=2, ensure_ascii=False) + "\n"


def _result(issue: WorkflowIssue) -> dict[str, Any]:
    proof = issue.evidence[0]
    uri, line = (issue.file, issue.file_line or 1) if issue.file else (proof.source, proof.line)
    return {
        "ruleId": issue.issue_type,
        "level": _LEVEL[Severity(issue.severity)],
        "message": {"text": redact(issue.error_message)},
        "partialFingerprints": {"failure/v1": issue.fingerprint},
        "locations": [
            {"physicalLocation": {"artifactLocation": {"uri": redact(uri)}, "region": {"startLine": line}}}
        ],
    }
