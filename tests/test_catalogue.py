"""Every case of the catalogue against the whole catalogue, and what every rule must have."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import case as cases
import pytest
import re2

from orchestrator import recipes
from orchestrator.edges.sandbox import ProcessSandbox
from orchestrator.model import Decision

CASES = [cases.read(path) for path in cases.case_files()]
RULES = cases.rules()


def _named(chosen: list[cases.Case]) -> list[object]:
    return [pytest.param(case, id=case.name) for case in chosen]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[ProcessSandbox]:
    opened = ProcessSandbox(os.environ)
    yield opened
    opened.close()


@pytest.mark.parametrize("case", _named(CASES))
def test_case_reads_as_the_engine_decides(case: cases.Case) -> None:
    _assert_blessed(case, cases.evaluate(case))


@pytest.mark.lab
@pytest.mark.parametrize("case", _named([c for c in CASES if c.needs_sandbox]))
def test_tool_makes_the_expected_change(case: cases.Case, sandbox: ProcessSandbox) -> None:
    _assert_blessed(case, cases.evaluate(case, sandbox))


@pytest.mark.parametrize("case", _named([c for c in CASES if c.after and not c.needs_sandbox]))
def test_healed_repository_is_left_alone(case: cases.Case) -> None:
    healed = cases.evaluate(case, tree=cases.MemoryTree({**case.before, **case.after}))
    assert healed.root is not None
    assert healed.root.decision != Decision.FIX, healed.plan.fix


@pytest.mark.parametrize("rule_id", RULES)
def test_rule_is_complete(rule_id: str) -> None:
    rule = RULES[rule_id]
    assert rule.title and rule.means and rule.advice
    assert bool(rule.recipe) + bool(rule.no_recipe) + rule.transient == 1, "one of fix, no_fix, transient"
    assert not rule.recipe or rule.recipe in recipes.names()
    assert set(rule.supersedes) <= RULES.keys() - {rule_id}


@pytest.mark.parametrize("rule_id", RULES)
def test_rule_patterns_hold_a_literal(rule_id: str) -> None:
    for pattern in RULES[rule_id].patterns:
        assert re2.compile(pattern)
        assert _longest_literal(pattern) >= 5, f"{pattern!r} would be slow: it holds no fixed text"


@pytest.mark.parametrize("rule_id", RULES)
def test_rule_has_cases(rule_id: str) -> None:
    own = [case for case in CASES if case.rule_id == rule_id]
    wins = [c for c in own if c.winner == rule_id and c.header("DECISION") != Decision.DECLINE]
    assert len({case.header("SOURCE") for case in wins}) >= 2, "two logs of different origin that it recognises"
    elsewhere = [c for c in CASES if c.winner != rule_id and rule_id in _recognised()[c.name]]
    assert len(wins) < len(own) or elsewhere, "a look-alike that it must leave to others or not believe"


def test_case_files_lie_in_a_rule_folder() -> None:
    assert {case.rule_id for case in CASES} <= RULES.keys()


@cache
def _recognised() -> dict[str, frozenset[str]]:
    """What every case's log is recognised as, believed or not, cause or not."""
    return {c.name: frozenset(issue.issue_type for issue in cases.evaluate(c).issues) for c in CASES}


def _assert_blessed(case: cases.Case, outcome: cases.Outcome) -> None:
    assert not outcome.problem, outcome.problem
    is_now = cases.render(case, outcome)
    if os.environ.get("UPDATE_CASES"):
        Path(case.path).write_text(is_now, "utf-8", newline="")
        return
    with case.path.open(encoding="utf-8", newline="") as stream:
        assert is_now == stream.read()


def _longest_literal(pattern: str) -> int:
    """Length of the longest run of letters, digits and spaces outside classes and groups' names."""
    longest = run = 0
    skipping = ""
    previous = ""
    for char in pattern:
        if skipping:
            skipping = "" if char == skipping else skipping
        elif char == "[" and previous != "\\":
            skipping, run = "]", 0
        elif char == "<":
            skipping, run = ">", 0
        elif char in "?*{|(" and previous != "\\":
            run = 0
        elif char.isalnum() or char in " -_/'=\"`:":
            run = run + 1 if previous != "\\" else 0
        longest = max(longest, run)
        previous = char
    return longest
