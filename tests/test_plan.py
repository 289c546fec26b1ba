"""From issues to decisions: one for each issue, and only the root cause is acted upon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import Files
from hypothesis import given
from hypothesis import strategies as st
from values import issue, rule, rules, run

from orchestrator.catalogue import load
from orchestrator.edges.files import FolderTree
from orchestrator.model import Confidence, Decision, Evidence, Plan, WorkflowIssue
from orchestrator.plan import HARD_RERUN_LIMIT, Policy, make_plan

MakeTree = Callable[[Files], FolderTree]

CI = ".github/workflows/ci.yml"
REMOVED = "actions/removed-action-version"
WORKFLOW = "on: push\njobs:\n  test:\n    runs-on: ubuntu-24.04\n    steps:\n      - uses: actions/upload-artifact@{}\n"


def plan(*issues: WorkflowIssue, tree: FolderTree | None = None, attempt: int = 1, **policy: Any) -> Plan:
    known = {**load(), **rules(rule(), rule("x/hand", no_fix="Ask the vendor."))}
    return make_plan(issues, known, run=run(attempt=attempt), tree=tree, policy=Policy(**policy))


def removed(version: str = "v3", **keys: Any) -> WorkflowIssue:
    text = f"it uses a deprecated version of `actions/upload-artifact: {version}`"
    return issue(text, issue_type=REMOVED, captures={"action": "actions/upload-artifact", "version": version}, **keys)


def misspelt() -> WorkflowIssue:
    text = "ModuleNotFoundError: No module named 'reqeusts'"
    return issue(text, issue_type="python/module-not-found", captures={"module": "reqeusts"}, file="a.py")


def decided(made: Plan) -> tuple[str, str]:
    return made.issues[0].decision, made.issues[0].decision_reason


class TestFix:
    def test_a_fault_that_the_repository_shows_is_fixed(self, make_tree: MakeTree) -> None:
        made = plan(removed(), tree=make_tree({CI: WORKFLOW.format("v3")}))
        assert made.fix is not None and made.rerun is None
        assert made.fix.issue is made.issues[0] and made.fix.fix.recipe == "workflow-action-version"
        assert decided(made) == (Decision.FIX, made.fix.fix.title)

    def test_what_only_the_log_says_is_guidance(self, make_tree: MakeTree) -> None:
        made = plan(removed(), tree=make_tree({CI: WORKFLOW.format("v6")}))
        assert made.fix is None and decided(made)[0] == Decision.GUIDANCE and CI in decided(made)[1]

    def test_without_files_it_says_how_to_give_them(self) -> None:
        made = plan(removed(), tree=None)
        assert made.fix is None and decided(made)[0] == Decision.GUIDANCE and "--repo" in decided(made)[1]

    def test_a_rule_without_a_recipe_gives_its_own_reason(self, make_tree: MakeTree) -> None:
        tree = make_tree({"a": "x"})
        assert decided(plan(issue(issue_type="x/hand"), tree=tree)) == (Decision.GUIDANCE, "Ask the vendor.")
        assert decided(plan(issue(), tree=tree))[0] == Decision.GUIDANCE and decided(plan(issue(), tree=tree))[1]

    def test_a_name_that_looks_misspelt_is_declined(self, make_tree: MakeTree) -> None:
        made = plan(misspelt(), tree=make_tree({"a.py": "import reqeusts\n", "requirements.txt": "requests\n"}))
        assert made.fix is None and decided(made)[0] == Decision.DECLINE and "reqeusts" in decided(made)[1]

    def test_only_the_root_cause_is_mended(self, make_tree: MakeTree) -> None:
        made = plan(issue(), removed(), tree=make_tree({CI: WORKFLOW.format("v3")}))
        assert made.fix is None and [i.decision for i in made.issues] == [Decision.GUIDANCE] * 2
        assert "root cause" in made.issues[1].decision_reason


class TestGates:
    @pytest.mark.parametrize("confidence", [Confidence.MEDIUM, Confidence.LOW])
    @pytest.mark.parametrize("transient", [True, False])
    def test_what_is_not_sure_is_not_acted_upon(self, make_tree: MakeTree, confidence: str, transient: bool) -> None:
        made = plan(removed(confidence=confidence, transient=transient), tree=make_tree({CI: WORKFLOW.format("v3")}))
        assert (made.fix, made.rerun) == (None, None)
        assert decided(made)[0] == Decision.GUIDANCE and confidence in decided(made)[1]

    @pytest.mark.parametrize("transient", [True, False])
    def test_a_closed_trust_gate_declines_with_its_reason(self, make_tree: MakeTree, transient: bool) -> None:
        tree = make_tree({CI: WORKFLOW.format("v3")})
        made = plan(removed(transient=transient), tree=tree, read_only="the run's code comes from a fork")
        assert (made.fix, made.rerun) == (None, None)
        assert decided(made)[0] == Decision.DECLINE and "fork" in decided(made)[1]

    def test_a_forgery_stays_declined_at_any_place(self, make_tree: MakeTree) -> None:
        forged = removed(decision=Decision.DECLINE, decision_reason="could have been printed", transient=True)
        tree = make_tree({CI: WORKFLOW.format("v3")})
        first, second = plan(forged, tree=tree), plan(issue(), forged, tree=tree)
        assert (first.fix, first.rerun) == (None, None) and first.issues[0] == forged
        assert second.issues[1] == forged


class TestRerun:
    def test_a_transient_failure_is_run_again(self) -> None:
        made = plan(issue(transient=True))
        assert made.rerun is made.issues[0] and made.fix is None
        assert decided(made)[0] == Decision.RERUN

    @pytest.mark.parametrize(
        ("attempt", "budget", "again"),
        [(1, 2, True), (2, 2, True), (3, 2, False), (1, 0, False), (1, 1, True), (2, 1, False),
         (HARD_RERUN_LIMIT, 1000, True), (HARD_RERUN_LIMIT + 1, 1000, False), (50, 1000, False)],
    )  # fmt: skip
    def test_the_budget_is_kept(self, attempt: int, budget: int, again: bool) -> None:
        made = plan(issue(transient=True), attempt=attempt, max_reruns=budget)
        assert (made.rerun is not None) is again
        if not again:
            assert decided(made)[0] == Decision.GUIDANCE and f"attempt {attempt}" in decided(made)[1]

    def test_a_real_failure_beside_it_vetoes(self) -> None:
        made = plan(issue(transient=True), issue(transient=True), issue(issue_type="x/real"))
        assert made.rerun is None and decided(made)[0] == Decision.GUIDANCE and "x/real" in decided(made)[1]

    def test_another_transient_one_or_a_forgery_does_not(self) -> None:
        forged = issue(decision=Decision.DECLINE)
        assert plan(issue(transient=True), issue(transient=True), forged).rerun is not None

    def test_no_file_is_needed_for_it(self) -> None:
        assert plan(issue(transient=True), tree=None).rerun is not None


def test_nothing_found_means_nothing_planned() -> None:
    assert plan() == Plan(issues=())


@given(
    st.lists(st.tuples(st.sampled_from(list(Confidence)), st.booleans(), st.sampled_from(["guidance", "decline"])), max_size=5),
    st.sampled_from(["", "a fork"]), st.integers(1, 60), st.integers(0, 60),
)  # fmt: skip
def test_every_issue_leaves_with_one_decision_and_a_reason(
    drawn: list[tuple[Confidence, bool, str]], read_only: str, attempt: int, budget: int
) -> None:
    given_issues = [
        issue(f"e{n}", confidence=c, transient=t, decision=d, decision_reason="why", evidence=(Evidence(line=n, text="", source=""),))
        for n, (c, t, d) in enumerate(drawn)
    ]
    made = plan(*given_issues, attempt=attempt, read_only=read_only, max_reruns=budget)
    assert [i.evidence for i in made.issues] == [i.evidence for i in given_issues]
    assert all(i.decision in set(Decision) and i.decision_reason for i in made.issues)
    acting = [i for i in made.issues if i.decision in (Decision.FIX, Decision.RERUN)]
    assert acting == [x for x in (made.fix and made.fix.issue, made.rerun) if x] and len(acting) <= 1
    assert not (acting and read_only)
