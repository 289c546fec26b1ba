"""The whole story on one screen: logs in, one decision each, and what the world gets to see."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.apply import apply
from orchestrator.catalogue.rule import Rule
from orchestrator.diagnose.judge import judge
from orchestrator.diagnose.matcher import Matcher
from orchestrator.errors import ServiceError
from orchestrator.logs.scan import scan
from orchestrator.model import (
    Decision,
    FixResult,
    JobLog,
    LogScan,
    Mode,
    Plan,
    PlannedFix,
    Publication,
    Refused,
    Report,
    Trigger,
    Verdict,
    WorkflowIssue,
    WorkflowRun,
)
from orchestrator.plan import Policy, make_plan
from orchestrator.ports import Ports, Repository
from orchestrator.publish import Unpublished, publish, rerun
from orchestrator.verify import shortfall, verify


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What was asked for: which rules, how far to go, where files of ours may be written."""

    rules: Mapping[str, Rule]
    mode: Mode = Mode.PULL_REQUEST
    max_attempts: int = 3
    max_reruns: int = 2
    dry_run: bool = False
    folder: Path = field(default_factory=Path)


def diagnose(trigger: Trigger, logs: Iterable[JobLog], task: Task, ports: Ports) -> tuple[Report, Sequence[LogScan]]:
    """Read the logs and name the causes; nothing is decided yet and nothing is touched."""
    started = time.monotonic()
    run = _run_of(trigger)
    matcher = Matcher(task.rules.values())
    scans = [scan(log.blocks, matcher, source=log.source, job=log.job) for log in logs]
    issues = judge(scans, task.rules, run, now=ports.now)
    report = Report(runs=_runs(trigger), issues=issues, duration_seconds=time.monotonic() - started)
    return replace(report, notes=() if scans else ("GitHub has no log of the failed jobs",)), scans


def heal(trigger: Trigger, logs: Iterable[JobLog], task: Task, ports: Ports, *, focus: str = "") -> Report:
    """Diagnose, decide, mend on a copy, prove, publish. Whatever fails on the way is in the report.

    ``focus`` is the fingerprint of the issue to act on, when a person chose another than the
    root cause.
    """
    started = time.monotonic()
    if trigger.ignore:
        return Report(runs=_runs(trigger), issues=(), skipped=trigger.ignore)
    ports.progress.stage("reading the logs")
    report, scans = diagnose(trigger, logs, task, ports)
    report = replace(report, issues=tuple(sorted(report.issues, key=lambda i: i.fingerprint != focus)))
    root = report.root_cause
    if root is None:
        return report
    run = _run_of(trigger)
    policy = Policy(read_only=trigger.read_only, max_reruns=task.max_reruns)
    try:
        repository = _open(root, trigger, task, ports)
    except ServiceError as refused:
        repository = None
        report = replace(report, notes=(*report.notes, f"the repository could not be read: {refused}"))
    try:
        tree = repository.tree() if repository else None
        plan = make_plan(report.issues, task.rules, run=run, tree=tree, policy=policy)
        ports.progress.note(f"{root.issue_type}: {plan.issues[0].decision}")
        report = replace(report, issues=plan.issues)
        if plan.fix is not None and repository is not None:
            report = _mend(report, plan, plan.fix, trigger, scans, repository, task, ports)
        elif plan.rerun is not None and not task.dry_run and task.mode is not Mode.REPORT:
            report = replace(report, publication=_rerun(run, ports))
    finally:
        if repository is not None:
            repository.close()
    return replace(report, duration_seconds=time.monotonic() - started)


def heal_issue(
    issue: WorkflowIssue, trigger: Trigger, logs: Iterable[JobLog], task: Task, ports: Ports
) -> FixResult:
    """Mend one issue of a run; a failure comes back as a result with its reason."""
    report = heal(trigger, logs, task, ports, focus=issue.fingerprint)
    if report.fixes:
        return report.fixes[0]
    decided = report.root_cause
    if report.skipped or decided is None or decided.fingerprint != issue.fingerprint:
        return FixResult(issue=issue, success=False, error_message=report.skipped or "the issue is not in these logs")
    return FixResult(issue=decided, success=False, error_message=decided.decision_reason)


def _mend(
    report: Report, plan: Plan, planned: PlannedFix, trigger: Trigger,
    scans: Sequence[LogScan], repository: Repository, task: Task, ports: Ports,
) -> Report:  # fmt: skip
    tree, run = repository.tree(), _run_of(trigger)
    ports.progress.stage(f"mending: {planned.fix.title}")
    change = apply(planned, tree, ports.sandbox)
    if isinstance(change, Refused):
        return _rolled_back(report, plan, planned, change.reason)
    log = next((s for s in scans if s.source == planned.issue.evidence[0].source), None)
    verdict = verify(change, tree, ports, log, run.path)
    reason = shortfall(verdict, task.mode)
    if reason:
        return _rolled_back(report, plan, planned, reason, verdict)
    result = _result(planned, verdict, ports)
    if task.dry_run:
        return replace(report, fixes=(replace(result, publication=Publication(kind="none", note="dry run")),))
    try:
        publication = publish(verdict, run, task.mode, repository, ports, folder=task.folder, attempts=task.max_attempts)
    except Unpublished as closed:
        return replace(report, fixes=(replace(result, success=False, error_message=str(closed)),))
    return replace(
        report,
        fixes=(replace(result, publication=publication, commit_sha=publication.commit_sha or None),),
        publication=publication,
        issues=(replace(report.issues[0], status="fixed"), *report.issues[1:]),
    )


def _rerun(run: WorkflowRun, ports: Ports) -> Publication:
    try:
        return rerun(run, ports.github)
    except ServiceError as refused:
        by_hand = rerun(run, None)
        return replace(by_hand, note=f"{refused}. Or {by_hand.note}")


def _rolled_back(
    report: Report, plan: Plan, planned: PlannedFix, reason: str, verdict: Verdict | None = None
) -> Report:
    """The mend did not hold: its trace is in the report and nowhere else."""
    forbidden = reason.startswith("a safety rule")
    decision = Decision.DECLINE if forbidden else Decision.GUIDANCE
    issue = replace(planned.issue, decision=decision, decision_reason=f"a mend was tried and taken back: {reason}")
    result = FixResult(
        issue=issue, success=False, error_message=reason, title=planned.fix.title,
        recipe=planned.fix.recipe, safety=planned.fix.safety, explanation=planned.fix.explanation,
        files=tuple(f.path for f in verdict.change.files) if verdict else (),
        diff=verdict.change.diff if verdict else "",
        verification=verdict.verification if verdict else (),
    )  # fmt: skip
    return replace(report, issues=(issue, *plan.issues[1:]), fixes=(result,))


def _result(planned: PlannedFix, verdict: Verdict, ports: Ports) -> FixResult:
    return FixResult(
        issue=planned.issue, success=True, applied_at=ports.now, title=planned.fix.title,
        recipe=planned.fix.recipe, safety=planned.fix.safety, explanation=planned.fix.explanation, files=tuple(f.path for f in verdict.change.files),
        diff=verdict.change.diff, verification=verdict.verification,
    )  # fmt: skip


def _open(root: WorkflowIssue, trigger: Trigger, task: Task, ports: Ports) -> Repository | None:
    """The repository, if a recipe will need it and the trust gate is open: no sooner."""
    wanted = task.rules[root.issue_type].recipe and root.decision != Decision.DECLINE
    if not wanted or trigger.read_only or ports.open_repository is None:
        return None
    ports.progress.stage("getting the repository")
    return ports.open_repository(_run_of(trigger))


def _run_of(trigger: Trigger) -> WorkflowRun:
    return trigger.run or WorkflowRun(run_id="", workflow_name="")


def _runs(trigger: Trigger) -> tuple[WorkflowRun, ...]:
    return (trigger.run,) if trigger.run else ()
