"""Mends on a throw-away copy: what is not as expected refuses, and the diff is what git makes of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Files, git, write
from hypothesis import example, given, settings
from hypothesis import strategies as st
from values import planned

from orchestrator.apply import apply, splice, unified_diff
from orchestrator.edges.files import FolderTree
from orchestrator.edges.sandbox import ProcessSandbox
from orchestrator.model import Change, FileChange, Refused, Splice, ToolRun

MakeTree = Callable[[Files], FolderTree]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[ProcessSandbox]:
    made = ProcessSandbox(os.environ)
    yield made
    made.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("diff")
    git(made, "init", "--quiet")
    return made


def cut(start: int, end: int, old: str, new: str, path: str = "a", **keys: object) -> Splice:
    return Splice(path=path, start=start, end=end, old=old, new=new, **keys)  # type: ignore[arg-type]


def tool(script: str, *claims: str, **keys: object) -> ToolRun:
    return ToolRun(requirement="", argv=("sh", "-ec", script), claims=claims, **keys)  # type: ignore[arg-type]


class TestSplice:
    def test_every_other_byte_stays(self, make_tree: MakeTree) -> None:
        before = "\ufeffa: 'v3'\t# \u00e9\r\n\fb: v3 \r\nno end"
        start = before.index("b: v3") + 3
        (made,) = splice(make_tree({"a": before}), [cut(start, start + 2, "v3", "v4")])
        assert made.after == before.replace("b: v3", "b: v4").encode() and made.before == before.encode()

    def test_several_in_any_order(self, make_tree: MakeTree) -> None:
        tree = make_tree({"a": "one two three", "b": "x"})
        (a, b) = splice(tree, [cut(4, 7, "two", "2"), cut(0, 1, "x", "", "b"), cut(8, 13, "three", "3"), cut(0, 3, "one", "1")])
        assert (a.after, b.after) == (b"1 2 3", b"")

    def test_the_same_edit_for_two_routes_is_made_once(self, make_tree: MakeTree) -> None:
        (made,) = splice(make_tree({"a": "xy"}), [cut(0, 1, "x", "zz", route=("p",)), cut(0, 1, "x", "zz", route=("q",))])
        assert made.after == b"zzy"

    def test_two_insertions_next_to_an_edit(self, make_tree: MakeTree) -> None:
        (made,) = splice(make_tree({"a": "ab"}), [cut(1, 1, "", "+"), cut(0, 1, "a", "A"), cut(2, 2, "", "!")])
        assert made.after == b"A+b!"

    @pytest.mark.parametrize(
        "edits",
        [
            [cut(0, 3, "two", "2")],
            [cut(4, 8, "two", "2")],
            [cut(4, 99, "two three", "2")],
            [cut(-5, -1, "thre", "2")],
            [cut(0, 5, "one t", "1"), cut(4, 7, "two", "2")],
            [cut(0, 7, "one two", "1"), cut(4, 7, "two", "2")],
            [cut(4, 7, "two", "2"), cut(4, 7, "two", "3")],
            [cut(0, 3, "one", "1"), cut(4, 7, "TWO", "2")],
            [cut(0, 3, "one", "1", "absent")],
            [cut(0, 1, "\ufffd", "1", "binary")],
        ],
        ids=["elsewhere", "longer", "beyond", "negative", "overlap", "inside", "twice", "second", "absent", "binary"],
    )
    def test_what_is_not_as_expected_refuses_the_whole_fix(
        self, make_tree: MakeTree, sandbox: ProcessSandbox, edits: list[Splice]
    ) -> None:
        refused = apply(planned(*edits), make_tree({"a": "one two three", "binary": b"\xff\0"}), sandbox)
        assert isinstance(refused, Refused) and (edits[-1].path in refused.reason or "a does not" in refused.reason)


class TestTools:
    def test_what_it_claims_is_kept(self, make_tree: MakeTree, sandbox: ProcessSandbox) -> None:
        tree = make_tree({"a.py": "x=1\n", "src/b.py": "y=1\n", "c.txt": "z\n"})
        made = apply(planned(tool("sed -i s/=/:/ a.py src/b.py; echo new > src/new.py; rm c.txt", "**/*.py", "c.txt")), tree, sandbox)
        assert isinstance(made, Change), made
        assert [(f.path, f.before, f.after) for f in made.files] == [
            ("a.py", b"x=1\n", b"x:1\n"), ("c.txt", b"z\n", None), ("src/b.py", b"y=1\n", b"y:1\n"), ("src/new.py", None, b"new\n"),
        ]  # fmt: skip
        assert tree.text("a.py") == "x=1\n" and not (tree.root / "src/new.py").exists()

    def test_what_it_changed_beside_its_claim_refuses_all(self, make_tree: MakeTree, sandbox: ProcessSandbox) -> None:
        refused = apply(planned(tool("echo x >> a.py; echo x >> b.txt", "*.py")), make_tree({"a.py": "", "b.txt": "b\n"}), sandbox)
        assert isinstance(refused, Refused) and "b.txt" in refused.reason and "outside this mend" in refused.reason

    def test_new_files_that_nobody_claimed_are_left_behind(self, make_tree: MakeTree, sandbox: ProcessSandbox) -> None:
        made = apply(planned(tool("echo x >> a.py; mkdir node_modules; echo x > node_modules/x", "*.py")), make_tree({"a.py": ""}), sandbox)
        assert isinstance(made, Change) and [f.path for f in made.files] == ["a.py"]

    def test_it_works_on_what_the_splices_made(self, make_tree: MakeTree, sandbox: ProcessSandbox) -> None:
        made = apply(planned(cut(0, 1, "1", "2", "in"), tool("cp in out", "out")), make_tree({"in": "1\n", "out": "0\n"}), sandbox)
        assert isinstance(made, Change), made
        assert {f.path: f.after for f in made.files} == {"in": b"2\n", "out": b"2\n"}

    def test_a_claim_is_from_the_root_also_in_a_folder(self, make_tree: MakeTree, sandbox: ProcessSandbox) -> None:
        made = apply(planned(tool("echo x > lock", "web/lock", cwd="web")), make_tree({"web/lock": "", "lock": ""}), sandbox)
        assert isinstance(made, Change) and [f.path for f in made.files] == ["web/lock"]

    def test_its_failure_is_told_with_its_last_word(self, make_tree: MakeTree, sandbox: ProcessSandbox) -> None:
        refused = apply(planned(tool("echo x >> a; echo why; exit 3", "a")), make_tree({"a": "a"}), sandbox)
        assert isinstance(refused, Refused) and "exit code 3: why" in refused.reason

    def test_a_tool_that_is_not_there(self, make_tree: MakeTree, sandbox: ProcessSandbox) -> None:
        absent = ToolRun(requirement="", argv=("no-such-tool-anywhere",), claims=("a",))
        refused = apply(planned(absent), make_tree({"a": "a"}), sandbox)
        assert isinstance(refused, Refused) and "no-such-tool-anywhere is not to be had" in refused.reason

    def test_a_link_in_the_place_of_a_file_refuses(self, make_tree: MakeTree, sandbox: ProcessSandbox) -> None:
        refused = apply(planned(tool("ln -sf /etc/hostname a", "a")), make_tree({"a": "a"}), sandbox)
        assert isinstance(refused, Refused) and "something odd" in refused.reason

    @pytest.mark.parametrize("operation", [tool("true", "a"), tool("echo a > a", "a"), cut(0, 1, "a", "a")])
    def test_a_mend_that_changes_nothing_is_refused(
        self, make_tree: MakeTree, sandbox: ProcessSandbox, operation: ToolRun | Splice
    ) -> None:
        refused = apply(planned(operation), make_tree({"a": "a\n"}), sandbox)
        assert isinstance(refused, Refused) and "changes nothing" in refused.reason


TEXT = st.none() | st.lists(
    st.sampled_from(["a", "b", "\u00e9\U0001f600", " ", "\t", "\f", "\v", "\x1c", "\x85", "\u2028", "\r", "\r\n", "\n", "\n", "\n", "--- a", "+++ b", "\\"]),
    max_size=14,
).map("".join)  # fmt: skip
NAMES = st.sampled_from(["a", "src/a b.txt", "\u00e9.yml", "-x", "a\u2028b", 'a"b', "back\\slash", "tab\tin", "line\nbreak"])


class TestDiff:
    @settings(max_examples=120, deadline=None)
    @given(path=NAMES, before=TEXT, after=TEXT)
    @example(path="a", before="", after="x")
    @example(path="a", before="x", after="")
    @example(path="a", before=None, after="")
    @example(path="a", before="", after=None)
    @example(path="a", before="x\r\ny\r\n", after="x\r\nz\r\n")
    @example(path="a", before="x\fy\n", after="x\fz\n")
    @example(path="a", before="x", after="x\n")
    @example(path="a", before="x\n", after="x")
    def test_git_makes_exactly_these_bytes_of_it(self, folder: Path, path: str, before: str | None, after: str | None) -> None:
        if before == after:
            return
        file = folder / path
        file.unlink(missing_ok=True)
        if before is not None:
            write(folder, {path: before})
        change = FileChange(path=path, before=_bytes(before), after=_bytes(after))
        git(folder, "apply", "--whitespace=nowarn", "-", stdin=unified_diff(change).encode())
        assert (file.read_bytes() if file.exists() else None) == change.after

    def test_several_files_at_once(self, tmp_path: Path) -> None:
        write(tmp_path, {"a": "1\n", "b": "x\n"})
        changes = [FileChange(path="a", before=b"1\n", after=b"2"), FileChange(path="b", before=b"x\n", after=None),
                   FileChange(path="d/c", before=None, after=b"n\n")]  # fmt: skip
        git(tmp_path, "init", "--quiet")
        git(tmp_path, "apply", "-", stdin="".join(map(unified_diff, changes)).encode())
        assert (tmp_path / "a").read_bytes() == b"2" and (tmp_path / "d/c").read_bytes() == b"n\n" and not (tmp_path / "b").exists()

    def test_bytes_that_are_no_text_are_only_named(self) -> None:
        assert "Binary" in unified_diff(FileChange(path="x.png", before=b"\xff", after=b"\xfe"))


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
