"""YAML nodes with positions: exact, and harmless whatever the file."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.edges.yaml import load_plain, parse, reason
from orchestrator.errors import UsageError
from orchestrator.yamlnode import YamlNode, differing_routes

CI = "on: push\njobs:\n  a:\n    steps:\n      - uses: 'x/y@v1'  # note\n      - run: |\n          make\n"


def at(text: str, *route: str | int) -> YamlNode:
    root = parse(text)
    assert root is not None
    node = root.at(*route)
    assert node is not None
    return node


@pytest.mark.parametrize("text", [CI, "\ufeff" + CI, CI.replace("\n", "\r\n")], ids=["plain", "mark", "windows"])
def test_positions_are_those_of_the_text(text: str) -> None:
    uses = at(text, "jobs", "a", "steps", 0, "uses")
    assert text[uses.start : uses.end] == "'x/y@v1'"
    assert (uses.value, uses.style, uses.line) == ("x/y@v1", "'", 5)


def test_the_key_on_stays_a_word() -> None:
    root = parse(CI)
    assert root is not None and root.text("on") == "push"


def test_shared_nodes_are_marked() -> None:
    text = "a: &x {k: v}\nb: *x\nc: {k: v}\n"
    assert at(text, "b", "k").shared and at(text, "a", "k").shared and not at(text, "c", "k").shared


@pytest.mark.parametrize(
    "text",
    ["a: [", "a: 1\na: 2\n", "a: 1\n---\nb: 2\n", "", "# only\n", "\t- x", "a: *missing", "a: &x\n  - *x\n", "[" * 1500, "{a: " * 1500],
    ids=["open", "twice", "two", "empty", "comment", "tab", "missing", "recursive", "deep", "deeper"],
)  # fmt: skip
def test_what_is_not_one_document_is_nothing(text: str) -> None:
    assert parse(text) is None


def test_aliases_of_aliases_do_not_unfold_for_ever() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    started = time.monotonic()
    assert parse("\n".join(lines)) is None
    assert time.monotonic() - started < 20


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@`,? \n\t\r\ufeff0", max_size=60))
def test_no_text_crashes_the_parser(text: str) -> None:
    root = parse(text)
    if root is None:
        return
    assert 0 <= root.start <= root.end <= len(text)
    for node in every(root):
        assert 0 <= node.start <= node.end <= len(text)


def every(node: YamlNode) -> list[YamlNode]:
    children = [*node.items, *(part for entry in node.entries for part in entry)]
    return [node, *(below for child in children for below in every(child))]


def test_the_reason_names_the_place() -> None:
    assert reason("a: 1\nb: c: d\n").startswith("line 2, column ")
    assert reason("a: 1\n") == "" and reason("[" * 1500)


def test_our_own_files_are_mappings() -> None:
    assert load_plain("a: 1\n", "f.yml") == {"a": 1}
    for text in ("- a\n", "x", "", "a: [", "a: !!python/object/apply:os.system [x]"):
        with pytest.raises(UsageError, match="f.yml: "):
            load_plain(text, "f.yml")


def test_routes_that_differ() -> None:
    old, new = parse(CI), parse(CI.replace("x/y@v1", "x/y@v2").replace("on: push", 'on: "push"'))
    assert old is not None and new is not None
    assert differing_routes(old, new) == {("jobs", "a", "steps", 0, "uses"), ("on",)}
    reformatted = parse("{on: push, jobs: {a: {steps: [{uses: 'x/y@v1'}, {run: \"make\\n\"}]}}} # c")
    assert reformatted is not None and differing_routes(old, reformatted) == set()
