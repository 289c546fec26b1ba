"""``orchestrator monitor``: sweeps a repository again and again, until interrupted."""

from __future__ import annotations

import argparse
import random
import signal
import threading
from collections.abc import Mapping
from pathlib import Path

from orchestrator import wiring
from orchestrator.config import PATH as CONFIG_PATH
from orchestrator.edges.github import GitHubClient
from orchestrator.edges.logfile import LogFile
from orchestrator.edges.terminal import TerminalProgress
from orchestrator.errors import OrchestratorError, UsageError
from orchestrator.model import Mode, Report
from orchestrator.pipeline import Task
from orchestrator.ports import Ports
from orchestrator.report import files
from orchestrator.report.json import dumps
from orchestrator.settings import repository_from, server_from
from orchestrator.sweep import sweep

_JITTER = 0.1
_TROUBLES = 5  # sweeps in a row that may fail before the monitor gives up


def command(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """``orchestrator monitor``: sweeps until interrupted, or once."""
    server, repository = server_from(environ), options.repo or repository_from(environ)
    if repository.count("/") != 1:
        raise UsageError("monitor needs --repo OWNER/NAME, or GITHUB_REPOSITORY_OWNER and GITHUB_REPOSITORY_NAME")
    if not server.token:
        raise UsageError("monitor needs a token: set GITHUB_TOKEN (for example from `gh auth token`)")
    mode = Mode(options.mode) if options.mode else None
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with (
        TerminalProgress() as terminal,
        LogFile(options.report_dir / "mcp_orchestrator.log", terminal) as progress,
        wiring.remote(server, environ, progress) as (ports, github),
    ):
        config = wiring.config_from_text(github.file(repository, CONFIG_PATH, github.default_branch(repository)))
        attempts = None if options.retries is None else max(1, options.retries)
        config = config.override(mode=mode, max_attempts=attempts, max_reruns=options.retries)
        task = wiring.task(config, options.report_dir)
        _loop(repository, github, task, ports, options, stop)
    return 0


def _loop(
    repository: str, github: GitHubClient, task: Task, ports: Ports, options: argparse.Namespace, stop: threading.Event
) -> None:
    from rich.console import Console

    from orchestrator.report.text import show

    seen: set[tuple[str, int]] = set()
    failures = 0
    while not stop.is_set():
        try:
            report = sweep(repository, github, task, ports, seen)
            failures = 0
        except OrchestratorError as failed:
            failures += 1
            if options.once or failures > _TROUBLES:
                raise
            ports.progress.note(f"{failed} (sweep {failures} of {_TROUBLES} in a row that failed)")
        else:
            _write(report, options.report_dir)
            if report.runs:
                show(report, Console(highlight=False))
            else:
                ports.progress.note("no red run")
        if options.once:
            return
        stop.wait(options.interval * (1 + random.uniform(-_JITTER, _JITTER)))


def _write(report: Report, folder: Path) -> None:
    try:
        files.write(report, folder, dumps(report))
    except OSError as wrong:
        raise UsageError(f"the report can't be written to {folder}: {wrong.strerror}") from None
