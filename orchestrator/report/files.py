"""The report files, under the names that users know."""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.model import Report

SUCCESS = "mcp_orchestrator_success_report.json"
FAILURE = "mcp_orchestrator_failure_report.json"


def write(report: Report, folder: Path, text: str) -> Path:
    """Write the report's JSON into ``folder`` and return its path. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (SUCCESS if report.succeeded else FAILURE)
    path.write_text(text, "utf-8")
    owner = folder.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        # A container runs as root in a workspace that later steps must be able to clean up.
        os.chown(path, owner.st_uid, owner.st_gid)
    return path
