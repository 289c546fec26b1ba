"""Among everything that matched: which is the cause, and how sure are we.

A cause stands in the step that failed, where such a line can be believed, is not explained by
another rule that matched too, and is the first of its kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.catalogue.rule import DEFAULT_ZONES, Rule
from orchestrator.diagnose.fingerprint import fingerprint
from orchestrator.model import (
    Confidence,
    Decision,
    LogScan,
    Match,
    StepTrace,
    WorkflowIssue,
    WorkflowRun,
    Zone,
)

_SURE = {Confidence.HIGH: 0, Confidence.MEDIUM: 1, Confidence.LOW: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """One rule with one set of captures in one job, and where it first stands."""

    rule: Rule
    match: Match
    step: StepTrace
    believed: bool
    elsewhere: bool
    job_name: str
    order: tuple[int, ...]


def judge(
    scans: Sequence[LogScan], rules: Mapping[str, Rule], run: WorkflowRun, *, now: datetime
) -> tuple[WorkflowIssue, ...]:
    """All issues of a run, the root cause first; an empty tuple when nothing is recognised."""
    candidates = [c for position, log in enumerate(scans) for c in _candidates(log, rules, position)]
    best: dict[tuple[str, tuple[tuple[str, str], ...]], _Candidate] = {}
    for candidate in sorted(candidates, key=lambda c: c.order):
        key = (candidate.rule.id, tuple(sorted(candidate.match.captures.items())))
        best.setdefault(key, candidate)
    return tuple(_issue(candidate, run, now) for candidate in best.values())


def _candidates(log: LogScan, rules: Mapping[str, Rule], position: int) -> Iterable[_Candidate]:
    known = [m for m in log.matches if m.rule_id in rules]
    believed = {id(m): _believed(m, rules[m.rule_id], log) for m in known}
    explained = {
        other
        for m in known
        if believed[id(m)]
        for other in rules[m.rule_id].supersedes
    }
    failing = _failing_steps(log)
    for match in known:
        rule = rules[match.rule_id]
        trusted = believed[id(match)]
        superseded = rule.id in explained
        elsewhere = bool(failing) and match.step not in failing and match.zone is not Zone.RUNNER
        order = (
            not trusted,
            match.zone is Zone.POST,
            elsewhere,
            superseded,
            _SURE[rule.confidence],
            position,
            match.evidence.line,
        )
        yield _Candidate(
            rule=rule,
            match=match,
            step=log.steps[min(match.step, len(log.steps) - 1)],
            believed=trusted,
            elsewhere=elsewhere,
            job_name=log.job_name or _stem(log.source),
            order=tuple(int(part) for part in order),
        )


def _believed(match: Match, rule: Rule, log: LogScan) -> bool:
    # A pasted excerpt shows no steps, so everything in it counts as a step's output too.
    excerpt = len(log.steps) == 1 and match.zone is Zone.RUNNER
    return match.zone in rule.zones or (excerpt and bool(set(rule.zones) & set(DEFAULT_ZONES)))


def _failing_steps(log: LogScan) -> set[int]:
    return {step.ordinal for step in log.steps if step.failed}


def _fill(template: str, captures: Mapping[str, str]) -> str:
    for name, value in captures.items():
        template = template.replace("{" + name + "}", value)
    return template


def _issue(candidate: _Candidate, run: WorkflowRun, now: datetime) -> WorkflowIssue:
    rule, match, step = candidate.rule, candidate.match, candidate.step
    job_name = candidate.job_name
    confidence = rule.confidence if candidate.believed else Confidence.LOW
    if candidate.elsewhere and confidence is Confidence.HIGH:
        confidence = Confidence.MEDIUM  # the step that printed it went on and succeeded
    if not candidate.believed:
        decision, reason = Decision.DECLINE, (
            f"the line stands in {_place(match)}, where a genuine one is never written; "
            "a program could have printed it"
        )
    else:
        decision, reason = Decision.GUIDANCE, rule.no_recipe or "no recipe mends this kind"
    line = match.captures.get("file_line", "")
    return WorkflowIssue(
        run_id=run.run_id,
        workflow_name=run.workflow_name,
        job_name=job_name,
        step_name=match.step_name,
        issue_type=rule.id,
        error_message=_fill(rule.message, match.captures) or match.evidence.text.strip(),
        severity=rule.severity,
        auto_fixable=bool(rule.recipe),
        fix_description=rule.title,
        fix_script="",
        detected_at=now,
        category=rule.category,
        confidence=confidence,
        transient=rule.transient,
        fingerprint=fingerprint(rule.id, match.captures, run.workflow_name, job_name),
        evidence=(match.evidence,),
        file=match.captures.get("file"),
        file_line=int(line) if line.isdecimal() and len(line) < 10 else None,
        decision=decision,
        decision_reason=reason,
        advice=_fill(rule.advice, match.captures),
        captures=dict(match.captures),
        zone=match.zone,
        command=step.command,
        job_id=match.job.job_id if match.job else None,
    )


def _place(match: Match) -> str:
    if match.zone is Zone.RUNNER:
        return "the runner's own part of the log"
    return f"the output of the step {match.step_name!r}"


def _stem(source: str) -> str:
    return source.rsplit("/", 1)[-1].removesuffix(".txt").removesuffix(".log")
