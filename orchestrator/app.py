"""The action: from the runner's environment to an exit code. The only catch-all is here."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator import wiring
from orchestrator.config import PATH, Config
from orchestrator.edges import runner
from orchestrator.edges.github import GitHubClient
from orchestrator.errors import OrchestratorError, ServiceError, UsageError
from orchestrator.event import from_workflow_run, judge
from orchestrator.model import Report, Trigger
from orchestrator.pipeline import Task, heal
from orchestrator.report import files
from orchestrator.report.json import dumps
from orchestrator.report.markdown import summary
from orchestrator.settings import ActionSettings, action_settings
from orchestrator.sweep import sweep

# Events without a run of their own: the recent runs are looked at instead.
_SWEEPING = frozenset({"schedule", "workflow_dispatch", "repository_dispatch"})
ISSUES = "https://github.com/mcp-orchestrator/mcp-orchestrator/issues"


class RunnerProgress:
    """Progress as lines in the step's log."""

    def stage(self, text: str) -> None:
        """A stage begins."""
        runner.stage(text)

    def note(self, text: str) -> None:
        """Something worth a line."""
        runner.stage(f"  {text}")


def main(environ: Mapping[str, str]) -> int:
    """Run the action. A red run that was handled is 0; 1 means that our own work failed."""
    try:
        settings = action_settings(environ)
        runner.mask(settings.server.token.reveal())
        report = run(settings, environ)
    except OrchestratorError as expected:
        runner.error(str(expected))
        return 1
    except Exception as bug:
        runner.error(f"a bug in MCP Orchestrator ({type(bug).__name__}: {bug}); please report it with the text above at {ISSUES}")
        for line in traceback.format_exc().splitlines():
            runner.stage(line)
        return 1
    _tell(report, settings, environ)
    return 0


def run(settings: ActionSettings, environ: Mapping[str, str]) -> Report:
    """One pass over the run that the event or the input names."""
    with wiring.remote(settings.server, environ, RunnerProgress()) as (ports, github):
        if settings.run_id is None and settings.event_name in _SWEEPING:
            repository = _required_repository(settings)
            task = _task(settings, github, repository, github.default_branch(repository))
            return sweep(repository, github, task, ports, set(), own_workflow=settings.own_workflow)
        trigger = _trigger(settings, github)
        if trigger.ignore or trigger.run is None:
            return Report(runs=(trigger.run,) if trigger.run else (), issues=(), skipped=trigger.ignore)
        found = trigger.run
        task = _task(settings, github, found.repository, found.default_branch or github.default_branch(found.repository))
        trigger = wiring.with_jobs(trigger, github)
        return heal(trigger, wiring.run_logs(trigger.run or found, github), task, ports)


def _required_repository(settings: ActionSettings) -> str:
    if not settings.repository:
        raise UsageError("no repository: give the input 'repository' (OWNER/NAME) or set GITHUB_REPOSITORY")
    return settings.repository


def _trigger(settings: ActionSettings, github: GitHubClient) -> Trigger:
    if settings.run_id is not None:
        return judge(github.run(_required_repository(settings), settings.run_id), own_workflow=settings.own_workflow)
    if settings.event_name != "workflow_run":
        return Trigger(
            ignore=f"the event {settings.event_name or 'unknown'!r} names no run; "
            "trigger on workflow_run, or give the input run-id"
        )
    return from_workflow_run(_payload(settings.event_path), own_workflow=settings.own_workflow)


def _payload(path: Path | None) -> Mapping[str, Any]:
    if path is None:
        raise UsageError("GITHUB_EVENT_PATH is not set; this runs in a GitHub Actions job, or give the input run-id")
    try:
        payload = json.loads(path.read_text("utf-8"))
    except OSError as wrong:
        raise UsageError(f"the event file {path} can't be read: {wrong.strerror}") from None
    except ValueError as wrong:
        raise UsageError(f"the event file {path} is not JSON: {wrong}") from None
    if not isinstance(payload, dict):
        raise UsageError(f"the event file {path} does not hold an event")
    return payload


def _task(settings: ActionSettings, github: GitHubClient, repository: str, branch: str) -> Task:
    """What to do, by the inputs and the configuration on the default branch, never a failing branch's own."""
    config = _configuration(github, repository, settings.config or PATH, branch, required=bool(settings.config))
    if settings.rules:
        more = _configuration(github, repository, settings.rules, branch, required=True)
        config = config.override(rules=(*config.rules, *more.rules))
    config = config.override(mode=settings.mode, max_attempts=settings.max_attempts, max_reruns=settings.max_reruns)
    return wiring.task(config, settings.report_dir, dry_run=settings.dry_run)


def _configuration(github: GitHubClient, repository: str, path: str, branch: str, *, required: bool) -> Config:
    try:
        text = github.file(repository, path, branch)
    except ServiceError as refused:
        runner.warning(f"{path} was not read: {refused}")
        text = None
    if text is None and required:
        raise UsageError(f"there is no {path} on the branch {branch} (input 'config' or 'rules')")
    return wiring.config_from_text(text, path)


def _tell(report: Report, settings: ActionSettings, environ: Mapping[str, str]) -> None:
    path = ""
    secrets = (settings.server.token.reveal(),)
    try:
        path = str(files.write(report, settings.report_dir, dumps(report, known_secrets=secrets)))
    except OSError as wrong:
        runner.warning(f"the report can't be written to {settings.report_dir}: {wrong.strerror}; choose another report-dir")
    runner.summary(summary(report), environ.get("GITHUB_STEP_SUMMARY"))
    runner.outputs(outputs(report, path))
    for note in report.notes:
        runner.warning(note)
    root = report.root_cause
    if report.skipped:
        runner.notice(f"Nothing was done: {report.skipped}")
    elif root is None:
        runner.notice("No root cause was recognised; nothing was changed")
    else:
        runner.notice(f"{root.fix_description}: {root.decision} ({root.decision_reason})")
    for fix in report.fixes:
        if fix.publication.note:
            runner.warning(fix.publication.note)


def outputs(report: Report, report_path: str) -> dict[str, str]:
    """The action's outputs; every value is a string, empty where there is nothing to say."""
    root = report.root_cause
    done = report.fixes[0].publication if report.fixes else report.publication
    return {
        "status": "skipped" if report.skipped else ("success" if report.succeeded else "failure"),
        "decision": str(root.decision) if root else "",
        "root-cause": root.issue_type if root else "",
        "category": root.category if root else "",
        "confidence": str(root.confidence) if root else "",
        "issues-found": str(len(report.issues)),
        "fixes-applied": str(sum(fix.success for fix in report.fixes)),
        "pull-request-url": done.url if done.kind == "pull-request" else "",
        "issue-url": "",
        "branch": done.branch,
        "commit-sha": done.commit_sha,
        "patch-path": done.path if done.kind == "patch" else "",
        "report-path": report_path,
        "reason": report.skipped or (root.decision_reason if root else ""),
    }
