"""The work tree: what is read from it, and that changes are written all or none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import write

from orchestrator.edges.files import FolderTree, read_plain, write_changes
from orchestrator.errors import Conflict, ServiceError
from orchestrator.model import FileChange


def change(path: str, before: bytes | None, after: bytes | None) -> FileChange:
    return FileChange(path=path, before=before, after=after)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class TestTree:
    def test_regular_files_only(self, tmp_path: Path) -> None:
        write(tmp_path, {"root/a": "1", "root/d/b": "2", "secret": "s", "outside/c": "3"})
        root = tmp_path / "root"
        (root / "link").symlink_to(tmp_path / "secret")
        (root / "linked").symlink_to(tmp_path / "outside")
        (root / "dangling").symlink_to("nowhere")
        os.mkfifo(root / "pipe")
        listed = ["a", "d/b", "link", "linked/c", "dangling", "pipe", "d", "missing", "../secret", "/etc/passwd", "d/../a",
                  str(tmp_path / "secret"), "", ".git/config"]  # fmt: skip
        tree = FolderTree(root, listed)
        assert tree.paths() == ("a", "d/b")
        assert [tree.read(path) for path in listed] == [b"1", b"2", *[None] * (len(listed) - 2)]

    def test_a_file_that_becomes_a_link_later_is_not_followed(self, tmp_path: Path) -> None:
        write(tmp_path, {"root/a": "1", "root/d/b": "2", "secret": "s", "outside/b": "s"})
        tree = FolderTree(tmp_path / "root", ["a", "d/b"])
        (tmp_path / "root/a").unlink()
        (tmp_path / "root/a").symlink_to(tmp_path / "secret")
        (tmp_path / "root/d").rename(tmp_path / "root/old")
        (tmp_path / "root/d").symlink_to(tmp_path / "outside")
        assert tree.read("a") is None and tree.read("d/b") is None

    def test_text_and_what_is_none(self, tmp_path: Path) -> None:
        write(tmp_path, {"a": b"\xef\xbb\xbfx\r\n", "b": b"\xff"})
        tree = FolderTree(tmp_path, ["a", "b"])
        assert tree.text("a") == "\ufeffx\r\n" and tree.text("b") is None and tree.text("c") is None

    def test_a_giant_is_left_alone(self, tmp_path: Path) -> None:
        with (tmp_path / "giant").open("wb") as stream:
            stream.truncate((8 << 20) + 1)
        assert FolderTree(tmp_path, ["giant"]).read("giant") is None

    def test_a_pipe_does_not_block(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(OSError, match="regular"):
            read_plain(tmp_path, "pipe")


class TestWrite:
    def test_change_create_delete(self, tmp_path: Path) -> None:
        write(tmp_path, {"a": b"1\r\n", "gone": "x"})
        (tmp_path / "a").chmod(0o751)
        write_changes(tmp_path, [change("a", b"1\r\n", b"2\r\n"), change("n/e/w", None, b"3"), change("gone", b"x", None)])
        assert snapshot(tmp_path) == {"a": b"2\r\n", "n/e/w": b"3"}
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o751

    @pytest.mark.parametrize("before", [b"other", None])
    def test_a_file_that_changed_meanwhile_stops_everything(self, tmp_path: Path, before: bytes | None) -> None:
        write(tmp_path, {"a": "1", "b": "mine"})
        with pytest.raises(Conflict, match="b changed"):
            write_changes(tmp_path, [change("a", b"1", b"2"), change("b", before, b"theirs")])
        assert snapshot(tmp_path) == {"a": b"1", "b": b"mine"}

    def test_a_failure_on_the_way_takes_back_what_was_written(self, tmp_path: Path) -> None:
        write(tmp_path, {"a": "1", "file": "x"})
        with pytest.raises(ServiceError, match="nothing was written"):
            write_changes(tmp_path, [change("a", b"1", b"2"), change("new", None, b"n"), change("file/below", None, b"3")])
        assert snapshot(tmp_path) == {"a": b"1", "file": b"x"}

    def test_a_folder_in_the_way(self, tmp_path: Path) -> None:
        write(tmp_path, {"a": "1", "d/x": "y"})
        with pytest.raises((Conflict, ServiceError)):
            write_changes(tmp_path, [change("a", b"1", b"2"), change("d", None, b"3")])
        assert snapshot(tmp_path) == {"a": b"1", "d/x": b"y"}

    @pytest.mark.parametrize("path", ["../out", "d/../../out", "linked/out", "link"])
    def test_nothing_outside_is_written(self, tmp_path: Path, path: str) -> None:
        write(tmp_path, {"root/d/x": "y", "outside/keep": "k", "target": "t"})
        root = tmp_path / "root"
        (root / "linked").symlink_to(tmp_path / "outside")
        (root / "link").symlink_to(tmp_path / "target")
        before = snapshot(tmp_path)
        for old in (None, b"t"):
            with pytest.raises(Conflict):
                write_changes(root, [change(path, old, b"evil")])
        assert snapshot(tmp_path) == before

    def test_no_temporary_file_stays(self, tmp_path: Path) -> None:
        write(tmp_path, {"a": "1"})
        write_changes(tmp_path, [change("a", b"1", b"2")])
        assert [p.name for p in tmp_path.iterdir()] == ["a"]
