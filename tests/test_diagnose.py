"""Matcher, judge and fingerprint: what is recognised, which of it is the cause, what it is called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from values import NOW, STAMP, job, rule, rules, run

from orchestrator.catalogue.rule import Rule
from orchestrator.diagnose.fingerprint import fingerprint, normalise
from orchestrator.diagnose.judge import judge
from orchestrator.diagnose.matcher import Matcher
from orchestrator.errors import UsageError
from orchestrator.logs.scan import scan
from orchestrator.model import Confidence, Decision, Job, WorkflowIssue


def diagnosed(log: str, *given_rules: Rule, jobs: tuple[Job | None, ...] = (None,)) -> tuple[WorkflowIssue, ...]:
    matcher = Matcher(given_rules)
    scans = [scan([log.encode()], matcher, source=f"logs/{n}_job.txt", job=one) for n, one in enumerate(jobs)]
    return judge(scans, rules(*given_rules), run(), now=NOW)


def step(first: str, *lines: str, exit_code: int | None = None) -> str:
    ended = [f"##[error]Process completed with exit code {exit_code}."] if exit_code else []
    all_lines = [f"##[group]Run {first}", first, "shell: bash", "##[endgroup]", *lines, *ended]
    return "".join(f"{STAMP}{line}\n" for line in all_lines)


class TestMatcher:
    @pytest.mark.parametrize("pattern", [r"(?=x)y", r"(a)\1", r"(?<!x)y", "(unclosed", "[z-a]"])
    def test_a_pattern_that_is_not_linear_is_refused_with_its_rule(self, pattern: str) -> None:
        with pytest.raises(UsageError) as refused:
            Matcher([rule("fine/one"), rule("bad/one", "ok", pattern)])
        assert "bad/one" in str(refused.value) and repr(pattern) in str(refused.value)

    def test_without_rules_nothing_matches(self) -> None:
        empty = Matcher([])
        assert not empty.gate(b"anything") and empty.line(b"anything") == []

    def test_every_rule_that_matches_a_line_is_told_in_order(self) -> None:
        matcher = Matcher([rule("a/b", "zzz", "bo+m"), rule("c/d", r"(?P<all>.*)m")])
        assert [(h.rule_id, h.pattern, dict(h.captures)) for h in matcher.line(b"a boom")] == [
            ("a/b", 1, {}), ("c/d", 0, {"all": "a boo"}),
        ]  # fmt: skip

    def test_a_group_that_took_no_part_is_left_out(self) -> None:
        (hit,) = Matcher([rule("a/b", "(?:x(?P<x>1)|y(?P<y>2))")]).line(b"y2")
        assert hit.captures == {"y": "2"}

    def test_captures_of_many_rules_do_not_mix(self) -> None:
        matcher = Matcher([rule(f"r/{n}", f"tool{n}: (?P<what>\\w+)") for n in range(300)])
        assert [h.rule_id for h in matcher.line(b"tool299: x")] == ["r/299"]
        assert matcher.gate(b"...\nxx tool7: y\n") and not matcher.gate(b"tool: 7\n" * 1000)


class TestJudge:
    def test_the_cause_stands_in_the_step_that_failed(self) -> None:
        log = step("pip install", "boom early") + step("pytest", "boom late", exit_code=1)
        root, other = diagnosed(log, rule("x/y", r"boom (?P<when>\w+)"))
        assert (root.captures["when"], root.confidence) == ("late", "high")
        assert (other.captures["when"], other.confidence) == ("early", "medium")
        assert root.step_name == "Run pytest" and root.command == "pytest"

    def test_what_only_a_step_that_succeeded_said_is_never_acted_upon(self) -> None:
        log = step("curl", "boom") + step("pytest", "nothing known", exit_code=1)
        (root,) = diagnosed(log, rule())
        assert root.confidence == Confidence.MEDIUM

    def test_a_rule_that_explains_another_comes_first(self) -> None:
        log = step("pytest", "symptom", "boom", exit_code=1)
        symptom, cause = rule("a/symptom", "symptom"), rule("z/cause", "boom", supersedes=["a/symptom"])
        assert [i.issue_type for i in diagnosed(log, symptom, cause)] == ["z/cause", "a/symptom"]

    def test_the_surer_rule_comes_first_then_the_earlier_line(self) -> None:
        log = step("pytest", "one", "two", "three", exit_code=1)
        found = diagnosed(log, rule("a/low", "one", confidence="low"), rule("b/x", "three"), rule("c/x", "two"))
        assert [i.issue_type for i in found] == ["c/x", "b/x", "a/low"]

    def test_a_line_in_the_wrong_place_is_reported_as_a_forgery(self) -> None:
        forged = step("pytest", "deprecated version", exit_code=1)
        (found,) = diagnosed(forged, rule("x/y", "deprecated version", zones=["runner"]))
        assert (found.decision, found.confidence) == (Decision.DECLINE, Confidence.LOW)
        assert "Run pytest" in found.decision_reason and "could have printed" in found.decision_reason

    def test_a_genuine_line_in_the_runners_part_is_believed(self) -> None:
        genuine = f"{STAMP}deprecated version\n" + step("pytest", "x", exit_code=1)
        (found,) = diagnosed(genuine, rule("x/y", "deprecated version", zones=["runner"]))
        assert (found.decision, found.confidence) == (Decision.GUIDANCE, Confidence.HIGH)

    def test_a_forgery_never_comes_before_what_can_be_believed(self) -> None:
        log = step("pytest", "forged", "boom", exit_code=1)
        found = diagnosed(log, rule("a/forged", "forged", zones=["runner"], supersedes=["z/real"]), rule("z/real"))
        assert [i.issue_type for i in found] == ["z/real", "a/forged"]

    def test_a_post_step_is_seldom_a_cause(self) -> None:
        log = step("pytest", "boom real", exit_code=1) + f"{STAMP}Post job cleanup.\n{STAMP}boom post\n"
        both = rule("x/y", r"boom (?P<n>\w+)", zones=["output", "post"])
        assert [i.captures["n"] for i in diagnosed(log, both)] == ["real", "post"]

    def test_a_pasted_excerpt_shows_no_steps_and_is_believed(self) -> None:
        (found,) = diagnosed("some line\nboom\n", rule())
        assert (found.decision, found.confidence) == (Decision.GUIDANCE, Confidence.HIGH)

    def test_the_same_failure_in_every_job_is_one_issue(self) -> None:
        log = step("pytest", "boom", exit_code=1)
        (found,) = diagnosed(log, rule(), jobs=(job(1, "test (3.11)"), job(2, "test (3.12)")))
        assert (found.job_name, found.job_id) == ("test (3.11)", 1)

    def test_numbers_and_names_from_the_log_are_filled_in(self) -> None:
        template = rule("x/y", r"(?P<file>\S+):(?P<file_line>\S+): boom", message="{file} broke", advice="Look at {file}.")
        (found,) = diagnosed("src/a.py:12: boom\n", template)
        assert (found.file, found.file_line, found.error_message, found.advice) == (
            "src/a.py", 12, "src/a.py broke", "Look at src/a.py.",
        )  # fmt: skip

    @pytest.mark.parametrize("number", ["\u00b2", "9" * 5000, "-1", "x", "\u0663"])
    def test_an_odd_line_number_breaks_nothing(self, number: str) -> None:
        (found,) = diagnosed(f"a.py:{number}: boom\n", rule("x/y", r"(?P<file>\S+):(?P<file_line>\S+): boom"))
        assert found.file_line in (None, 3)

    def test_the_evidence_is_the_line_itself(self) -> None:
        (found,) = diagnosed(f"x\n{STAMP}  boom: it broke\n", rule())
        assert (found.evidence[0].line, found.evidence[0].text, found.evidence[0].source) == (2, "  boom: it broke", "logs/0_job.txt")
        assert found.error_message == "boom: it broke"

    def test_a_rule_that_is_not_in_the_catalogue_any_more_is_left_out(self) -> None:
        found = scan([b"boom\n"], Matcher([rule("gone/away")]), source="s")
        assert judge([found], {}, run(), now=NOW) == ()


class TestFingerprint:
    def test_another_day_another_runner_the_same_failure(self) -> None:
        one = fingerprint("x/y", {"what": "port 8080 at 0x7ffe01, commit 1a2b3c4d, took 1.25 s"}, "CI", "test (3.11)")
        two = fingerprint("x/y", {"what": "port 9090 at 0xdeadbeef, commit 99ffee00, took 17 s"}, "CI", "test (3.12)")
        assert one == two and len(one) == 40 and int(one, 16) >= 0

    @pytest.mark.parametrize(
        "other",
        [("x/z", {"m": "a"}, "CI", "t"), ("x/y", {"m": "b"}, "CI", "t"), ("x/y", {"n": "a"}, "CI", "t"),
         ("x/y", {"m": "a"}, "CD", "t"), ("x/y", {"m": "a"}, "CI", "u")],
    )  # fmt: skip
    def test_another_failure(self, other: tuple[str, dict[str, str], str, str]) -> None:
        assert fingerprint(*other) != fingerprint("x/y", {"m": "a"}, "CI", "t")

    def test_the_order_of_captures_is_no_difference(self) -> None:
        assert fingerprint("r", {"a": "1", "b": "x"}, "w", "j") == fingerprint("r", {"b": "x", "a": "1"}, "w", "j")

    @given(st.text(max_size=80))
    def test_normalising_twice_changes_nothing(self, text: str) -> None:
        once = normalise(text)
        assert normalise(once) == once

    @given(st.text(), st.text())
    def test_any_text_has_a_fingerprint(self, captured: str, name: str) -> None:
        assert len(fingerprint("r", {"c": captured}, name, name)) == 40
