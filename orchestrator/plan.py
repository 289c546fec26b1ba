"""From issues to decisions. Pure: the same issues, files and policy give the same plan.

Only the root cause is acted upon; what stands behind it in line may be its echo. Every issue
leaves with exactly one decision and the reason for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator import recipes
from orchestrator.catalogue.rule import Rule
from orchestrator.model import (
    Confidence,
    Decision,
    Declined,
    Fix,
    Plan,
    PlannedFix,
    WorkflowIssue,
    WorkflowRun,
)
from orchestrator.ports import Tree

HARD_RERUN_LIMIT = 40  # GitHub itself stops at 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What this pass may do. ``read_only`` is the trust gate's reason, if it closed."""

    read_only: str = ""
    max_reruns: int = 2


def make_plan(
    issues: Sequence[WorkflowIssue],
    rules: Mapping[str, Rule],
    *,
    run: WorkflowRun,
    tree: Tree | None,
    policy: Policy,
) -> Plan:
    """Decide every issue. ``tree`` is absent when the repository may not or cannot be read."""
    if not issues:
        return Plan(issues=())
    root, rest = issues[0], issues[1:]
    decided: WorkflowIssue
    fix: Fix | None = None
    if root.decision == Decision.DECLINE:
        decided = root
    elif root.confidence != Confidence.HIGH:
        decided = _decide(root, Decision.GUIDANCE, f"the diagnosis is of {root.confidence} confidence")
    elif policy.read_only:
        decided = _decide(root, Decision.DECLINE, f"{policy.read_only}; reported only")
    elif root.transient:
        decided = _rerun(root, issues, run, policy)
    else:
        decided, fix = _mend(root, rules[root.issue_type], run, tree)
    return Plan(
        issues=(decided, *(_secondary(issue) for issue in rest)),
        fix=PlannedFix(issue=decided, fix=fix) if fix else None,
        rerun=decided if decided.decision == Decision.RERUN else None,
    )


def _decide(issue: WorkflowIssue, decision: Decision, reason: str) -> WorkflowIssue:
    return replace(issue, decision=decision, decision_reason=reason)


def _secondary(issue: WorkflowIssue) -> WorkflowIssue:
    if issue.decision == Decision.DECLINE:
        return issue
    return _decide(issue, Decision.GUIDANCE, "the root cause comes first; this may follow from it")


def _rerun(
    root: WorkflowIssue, issues: Sequence[WorkflowIssue], run: WorkflowRun, policy: Policy
) -> WorkflowIssue:
    real = next((i for i in issues[1:] if not i.transient and i.decision != Decision.DECLINE), None)
    if real is not None:
        return _decide(root, Decision.GUIDANCE, f"a re-run would not mend {real.issue_type} in the same run")
    limit = min(policy.max_reruns, HARD_RERUN_LIMIT)
    if run.attempt > limit:
        return _decide(root, Decision.GUIDANCE, f"attempt {run.attempt}: the budget of {limit} re-runs is used up")
    return _decide(root, Decision.RERUN, "the failure is transient; nothing in the repository caused it")


def _mend(
    root: WorkflowIssue, rule: Rule, run: WorkflowRun, tree: Tree | None
) -> tuple[WorkflowIssue, Fix | None]:
    if not rule.recipe:
        return _decide(root, Decision.GUIDANCE, rule.no_recipe or "only a person can decide this"), None
    if tree is None:
        return _decide(root, Decision.GUIDANCE, "the repository's files are not at hand (give --repo DIR)"), None
    context = recipes.Context(tree=tree, run=run, options=rule.options)
    outcome = recipes.find(rule.recipe)(root, context)
    if isinstance(outcome, Declined):
        decision = Decision.DECLINE if outcome.unsafe else Decision.GUIDANCE
        return _decide(root, decision, outcome.reason), None
    return _decide(root, Decision.FIX, outcome.title), replace(outcome, recipe=rule.recipe)
