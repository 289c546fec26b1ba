"""Watches one repository: every sweep looks at its recent runs and heals the red ones once."""

from __future__ import annotations

import argparse
import random
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from orchestrator import wiring
from orchestrator.config import PATH as CONFIG_PATH
from orchestrator.edges.github import GitHubClient
from orchestrator.edges.logfile import LogFile
from orchestrator.edges.terminal import TerminalProgress
from orchestrator.errors import OrchestratorError, UsageError
from orchestrator.event import judge
from orchestrator.model import Mode, Report
from orchestrator.pipeline import Task, heal
from orchestrator.ports import Ports
from orchestrator.report import files
from orchestrator.report.json import dumps
from orchestrator.settings import repository_from, server_from

_JITTER = 0.1
_RUNS = 30


def sweep(repository: str, github: GitHubClient, task: Task, ports: Ports, seen: set[tuple[str, int]]) -> Report:
    """One look at the recent runs. Every red run and attempt is handled once in a process.

    Only a branch's newest run of a workflow counts: an older red one is history.
    """
    started = time.monotonic()
    total = Report(runs=(), issues=())
    newest: set[tuple[str, str]] = set()
    for run in github.runs(repository, limit=_RUNS):
        line = (run.path or run.workflow_name, run.head_branch)
        if line in newest:
            continue
        newest.add(line)
        trigger = judge(run)
        if trigger.ignore or (run.run_id, run.attempt) in seen:
            continue
        ports.progress.stage(f"run {run.run_id} of {run.workflow_name} is red")
        trigger = wiring.with_jobs(trigger, github)
        assert trigger.run is not None
        one = heal(trigger, wiring.run_logs(trigger.run, github), task, ports)
        seen.add((run.run_id, run.attempt))
        total = replace(
            total, runs=(*total.runs, *one.runs), issues=(*total.issues, *one.issues),
            fixes=(*total.fixes, *one.fixes), notes=(*total.notes, *one.notes), publication=one.publication,
        )  # fmt: skip
    return replace(total, duration_seconds=time.monotonic() - started)


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
        task = wiring.remote_task(config, mode, options.report_dir)
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
            if options.once or failures > options.retries:
                raise
            ports.progress.note(f"{failed} (failure {failures} of {options.retries} in a row)")
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
