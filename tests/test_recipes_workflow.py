"""Recipes that edit workflow files: what stays byte for byte, and where they keep their hands off."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from case import MemoryTree, NoSandbox

from orchestrator import recipes
from orchestrator.apply import apply
from orchestrator.catalogue import load
from orchestrator.edges import yaml
from orchestrator.gates import violations
from orchestrator.model import (
    Change,
    Declined,
    Evidence,
    Fix,
    PlannedFix,
    Safety,
    WorkflowIssue,
    WorkflowRun,
)

PATH = ".github/workflows/ci.yml"
V3 = "deprecated version of `actions/upload-artifact: v3`"


def _issue(rule_id: str, text: str = "", command: str = "", step: str = "", **captures: str) -> WorkflowIssue:
    return WorkflowIssue(
        run_id="1", workflow_name="", job_name="build", step_name=step, issue_type=rule_id, error_message="",
        severity="high", auto_fixable=True, fix_description="", fix_script="",
        detected_at=datetime(2026, 11, 22, tzinfo=UTC), evidence=(Evidence(line=1, text=text, source="log"),),
        captures=captures, command=command,
    )  # fmt: skip


def _outcome(issue: WorkflowIssue, files: dict[str, str | bytes], **run: str) -> Fix | Declined:
    rule = load()[issue.issue_type]
    known = WorkflowRun(run_id="1", workflow_name="", path=PATH, **{"event": "push", **run})  # type: ignore[arg-type]
    context = recipes.Context(tree=MemoryTree(files), run=known, options=rule.options)
    return recipes.find(rule.recipe)(issue, context)


def _healed(issue: WorkflowIssue, files: dict[str, str | bytes], **run: str) -> bytes:
    """The workflow file after the fix, which passes the deny-list and is not wanted twice."""
    fix = _outcome(issue, files, **run)
    assert isinstance(fix, Fix), fix
    change = apply(PlannedFix(issue=issue, fix=fix), MemoryTree(files), NoSandbox())
    assert isinstance(change, Change), change
    assert violations(change, yaml.parse) == []
    after = {file.path: file.after or b"" for file in change.files}
    assert isinstance(_outcome(issue, {**files, **after}, **run), Declined)
    return after[PATH]


def _job(steps: str, head: str = "", runs_on: str = "ubuntu-24.04") -> str:
    return f"on: push\n{head}jobs:\n  build:\n    runs-on: {runs_on}\n    steps:\n{steps}"


REMOVED = _issue("actions/removed-action-version", V3, action="actions/upload-artifact", version="v3")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("- uses: actions/upload-artifact@v3", "- uses: actions/upload-artifact@v6", id="plain"),
        pytest.param(
            "- uses: 'actions/upload-artifact@v3' # x", "- uses: 'actions/upload-artifact@v6' # x", id="quotes"
        ),
        pytest.param('- {uses: "actions/upload-artifact@v3"}', '- {uses: "actions/upload-artifact@v6"}', id="flow"),
        pytest.param("- uses: actions/upload-artifact@v3.1.2", "- uses: actions/upload-artifact@v6.0.0", id="exact"),
        pytest.param("- uses: &up actions/upload-artifact@v3", "- uses: &up actions/upload-artifact@v6", id="anchor"),
    ],
)
def test_reference_keeps_its_style(before: str, after: str) -> None:
    assert _healed(REMOVED, {PATH: _job(f"      {before}\n")}) == _job(f"      {after}\n").encode()


def test_line_endings_and_byte_order_mark_stay() -> None:
    text = "\ufeff" + _job("      - uses: actions/upload-artifact@v3\n      - run: make").replace("\n", "\r\n")
    assert _healed(REMOVED, {PATH: text}) == text.replace("@v3", "@v6").encode()


def test_aliased_step_is_edited_at_its_anchor() -> None:
    text = (
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps: &steps\n"
        "      - uses: actions/download-artifact@v3\n  b:\n    runs-on: ubuntu-24.04\n    steps: *steps\n"
    )
    issue = _issue(
        "actions/removed-action-version", V3.replace("upload", "download"), action="actions/download-artifact", version="v3"
    )
    assert _healed(issue, {PATH: text}) == text.replace("@v3", "@v7").encode()


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        pytest.param({PATH: _job("      - uses: actions/upload-artifact@v4\n")}, "does not use", id="healed already"),
        pytest.param(
            {PATH: _job(f"      - uses: actions/upload-artifact@{'a' * 40} # v3.1.3\n")}, "pinned to a commit", id="commit"
        ),
        pytest.param({PATH: _job("      - uses: actions/upload-artifact@v3.1\n")}, "no exact version", id="half exact"),
        pytest.param(
            {PATH: _job("      - uses: actions/upload-artifact@v3\n" * 2)}, "uploaded more than once", id="twice",
        ),
        pytest.param(
            {PATH: _job("      - uses: actions/upload-artifact@v3\n    strategy: {matrix: {os: [a, b]}}\n")},
            "every job of the matrix", id="matrix",
        ),
        pytest.param({PATH: _job("      - uses: else/upload-artifact@v3\n")}, "does not use", id="other owner"),
        pytest.param(
            {PATH: _job("      - uses: actions/upload-artifact@v3\n"), ".github/workflows/actions.lock": PATH},
            "gh actions-lock", id="locked",
        ),
        pytest.param({PATH: "on: push\njobs: [\n"}, "does not use", id="unreadable"),
    ],
)  # fmt: skip
def test_removed_action_is_left_alone(files: dict[str, str | bytes], reason: str) -> None:
    outcome = _outcome(REMOVED, files)
    assert isinstance(outcome, Declined)
    assert reason in outcome.reason
    assert not outcome.unsafe


@pytest.mark.parametrize(
    ("options", "word"),
    [
        pytest.param("{name: logs, path: .cache/x}", "hidden", id="hidden files"),
        pytest.param("{name: logs}\n        if: failure()\n    strategy: {matrix: {os: [a, b]}}", "matrix", id="matrix, at times"),
    ],
)  # fmt: skip
def test_artifact_that_v4_treats_otherwise_needs_review(options: str, word: str) -> None:
    fix = _outcome(REMOVED, {PATH: _job(f"      - uses: actions/upload-artifact@v3\n        with: {options}\n")})
    assert isinstance(fix, Fix)
    assert fix.safety is Safety.REVIEW
    assert word in fix.explanation


RETIRED = _issue("actions/runner-image-retired", image="Ubuntu 20.04")


@pytest.mark.parametrize(
    ("runs_on", "healed"),
    [
        pytest.param("ubuntu-20.04", "ubuntu-24.04", id="plain"),
        pytest.param('"ubuntu-20.04"   # old', '"ubuntu-24.04"   # old', id="quotes and comment"),
        pytest.param("[ubuntu-20.04]", "[ubuntu-24.04]", id="list of one"),
        pytest.param("[self-hosted, ubuntu-20.04]", "", id="own runner"),
        pytest.param("{group: big, labels: ubuntu-20.04}", "", id="group"),
        pytest.param("${{ inputs.os || 'ubuntu-20.04' }}", "", id="expression"),
        pytest.param("ubuntu-20.04-xl", "", id="own label of that beginning"),
    ],
)
def test_only_hosted_labels_are_replaced(runs_on: str, healed: str) -> None:
    files: dict[str, str | bytes] = {PATH: _job("      - run: make\n", runs_on=runs_on)}
    if healed:
        assert _healed(RETIRED, files) == _job("      - run: make\n", runs_on=healed).encode()
    else:
        assert isinstance(_outcome(RETIRED, files), Declined)


def test_nested_matrix_value_feeds_the_label() -> None:
    text = (
        "on: push\njobs:\n  build:\n    strategy:\n      matrix:\n        target:\n"
        "          - {os: ubuntu-20.04, cc: gcc}\n          - {os: windows-2022, cc: cl}\n"
        "    runs-on: ${{ matrix.target.os }}\n    steps:\n      - run: make\n"
    )
    assert _healed(RETIRED, {PATH: text}) == text.replace("ubuntu-20.04", "ubuntu-24.04").encode()


GH = "      - run: gh issue create -t x -b y\n        env: {GH_TOKEN: '${{ github.token }}'}\n"
REFUSED = _issue("actions/permission-missing", command="gh issue create -t x -b y")


def test_permission_keeps_what_the_job_had_by_default() -> None:
    after = yaml.parse(_healed(REFUSED, {PATH: _job(GH)}).decode())
    assert after is not None
    block = after.at("jobs", "build", "permissions")
    assert block is not None
    assert {key.value: value.value for key, value in block.entries} == {
        "contents": "read", "packages": "read", "issues": "write",
    }  # fmt: skip


def test_permission_is_written_with_the_files_line_endings() -> None:
    text = _job(GH, head="permissions:\n  contents: read\n").replace("\n", "\r\n")
    healed = _healed(REFUSED, {PATH: text})
    assert healed.count(b"\n") == healed.count(b"\r\n")


@pytest.mark.parametrize(
    ("text", "run", "reason"),
    [
        pytest.param(_job(GH), {"event": "pull_request"}, "pull_request", id="pull request"),
        pytest.param(_job(GH), {"event": ""}, "not known", id="unknown event"),
        pytest.param(_job(GH), {"actor": "dependabot[bot]"}, "Dependabot", id="Dependabot"),
        pytest.param(_job(GH, head="permissions: write-all\n"), {}, "all permissions at once", id="all at once"),
        pytest.param(_job(GH, head="permissions: {issues: write}\n"), {}, "another reason", id="has it already"),
        pytest.param(_job(GH).replace("on: push", "on: [push, workflow_call]"), {}, "caller", id="called workflow"),
        pytest.param(_job(GH).replace("github.token", "secrets.BOT"), {}, "token of its own", id="other token"),
    ],
)
def test_permission_is_not_granted(text: str, run: dict[str, str], reason: str) -> None:
    outcome = _outcome(REFUSED, {PATH: text}, **run)
    assert isinstance(outcome, Declined)
    assert reason in outcome.reason


@pytest.mark.parametrize("script", ["gh issue create -t x\ngh release create v1", "gh api repos/a/b", "./notify.sh"])
def test_permission_that_does_not_follow_from_the_step(script: str) -> None:
    text = _job("      - run: |\n" + "".join(f"          {line}\n" for line in script.split("\n")))
    outcome = _outcome(_issue("actions/permission-missing", command=script), {PATH: text})
    assert isinstance(outcome, Declined)
    assert "for certain" in outcome.reason


def test_permission_for_another_repository_is_not_ours_to_grant() -> None:
    issue = _issue("actions/permission-missing", command="gh issue create -t x -b y", repository="else/where", path="x")
    outcome = _outcome(issue, {PATH: _job(GH)}, repository="example/project")
    assert isinstance(outcome, Declined)
    assert "else/where" in outcome.reason
