#!/usr/bin/env python3
"""Runs the project's tests and leaves `mcp_orchestrator_test_report.json` in the working directory.

Arguments are pytest's own. The last line printed and the exit code are pytest's.
"""

from __future__ import annotations

import collections
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REPORT = "mcp_orchestrator_test_report.json"
SLOWEST = 20


class Report:
    """A pytest plugin that counts what happens and writes the report when the session ends."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.started_at = datetime.now(UTC)
        self.began = time.monotonic()
        self.outcomes: dict[str, str] = {}
        self.durations: collections.Counter[str] = collections.Counter()
        self.collection_errors: dict[str, str] = {}

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.collection_errors[report.nodeid] = "errors"

    def pytest_runtest_logreport(self, report: Any) -> None:
        # A test makes up to three reports; the gravest one counts. An expected failure (xfail) is
        # reported as skipped, and a failure outside the test itself is an error.
        # The id of a test outside the project has no path.
        test = report.location[0] + report.nodeid if report.nodeid.startswith("::") else report.nodeid
        self.durations[test] += report.duration
        outcome = report.outcome
        if outcome == "failed" and report.when != "call":
            outcome = "errors"
        gravity = ("", "passed", "skipped", "failed", "errors")
        known = self.outcomes.get(test, "")
        if gravity.index(outcome) > gravity.index(known):
            self.outcomes[test] = outcome

    def pytest_sessionfinish(self, session: Any, exitstatus: int) -> None:
        # Processes that run a share of the tests (xdist) report to the one that is writing here.
        if hasattr(session.config, "workerinput"):
            return
        text = json.dumps(self.report(int(exitstatus)), indent=2) + "\n"
        part = self.target.with_name(f".{self.target.name}.{os.getpid()}")
        part.write_text(text, encoding="utf-8")
        part.replace(self.target)

    def report(self, exitstatus: int) -> dict[str, Any]:
        components: dict[str, collections.Counter[str]] = {}
        everything = {**self.outcomes, **self.collection_errors}
        for nodeid, outcome in everything.items():
            components.setdefault(nodeid.partition("::")[0], collections.Counter())[outcome] += 1
        totals = collections.Counter(everything.values())
        kinds = ("passed", "failed", "skipped", "errors")
        return {
            "schema_version": 1,
            "status": "SUCCESS" if exitstatus == 0 else "FAILURE",
            "started_at": self.started_at.isoformat(timespec="seconds"),
            "duration_seconds": round(time.monotonic() - self.began, 3),
            "exit_code": exitstatus,
            "tests": {kind: totals[kind] for kind in kinds},
            "components": {
                module: {kind: counts[kind] for kind in kinds} for module, counts in sorted(components.items())
            },
            "performance": {
                "slowest": [
                    {"test": nodeid, "seconds": round(seconds, 3)}
                    for nodeid, seconds in self.durations.most_common(SLOWEST)
                ],
            },
            "environment": {
                "python": platform.python_version(),
                "git": git_version(),
                "platform": platform.platform(),
            },
        }


def git_version() -> str | None:
    """The version of git, or None without git."""
    try:
        done = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.removeprefix("git version ").strip()


def main(arguments: list[str]) -> int:
    """Run pytest with `arguments`; from another folder, on the project's tests if none are named."""
    try:
        import pytest
    except ModuleNotFoundError:
        print("pytest is not installed; scripts/run_mcp_orchestrator.sh --test sees to it", file=sys.stderr)
        return 2
    sys.path.insert(0, str(ROOT))
    if Path.cwd() != ROOT and not any(Path(word.partition("::")[0]).exists() for word in arguments):
        arguments = [*arguments, str(ROOT / "tests")]
    head = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    return int(pytest.main([*head, *arguments], plugins=[Report(Path.cwd() / REPORT)]))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
