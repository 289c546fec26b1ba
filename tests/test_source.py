"""Logs on disk: every shape that people have them in, and every way in which they can be broken."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import write

from orchestrator.edges.source import open_logs
from orchestrator.errors import SourceError

RUN = {
    "0_build.txt": "one\n",
    "10_test (3.12).txt": "three\n",
    "2_lint.txt": "two\n",
    "build/1_Set up job.txt": "step\n",
    "build/system.txt": "runner\n",
}


def archive(path: Path, files: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            made.writestr(name, content)
    return path


def read(source: object) -> list[tuple[str, bytes]]:
    return [(log.source, b"".join(log.blocks)) for log in open_logs(str(source))]


class TestFiles:
    def test_a_log(self, tmp_path: Path) -> None:
        write(tmp_path, {"job.txt": b"a\xff\n"})
        assert read(tmp_path / "job.txt") == [("job.txt", b"a\xff\n")]

    def test_a_name_that_is_no_text(self, tmp_path: Path) -> None:
        odd = os.fsencode(tmp_path) + b"/\xff.log"
        Path(os.fsdecode(odd)).write_bytes(b"x\n")
        ((name, data),) = read(os.fsdecode(odd))
        assert name.encode() and data == b"x\n"

    def test_standard_input_and_process_substitution(self, tmp_path: Path) -> None:
        script = "from orchestrator.edges.source import open_logs; import sys; print(*(b''.join(l.blocks) for l in open_logs(sys.argv[1])))"
        for source in ("-", "/dev/stdin"):
            done = subprocess.run([sys.executable, "-c", script, source], input=b"x" * 100_000, capture_output=True, check=True)
            assert done.stdout == b"b'" + b"x" * 100_000 + b"'\n"

    @pytest.mark.parametrize("source", ["missing.txt", "2026 ##[error]boom\n" * 500, "a\0b", "x" * 5000, ""], ids=["missing", "log", "nul", "long", "empty"])
    def test_what_is_no_file_is_said_shortly(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
        monkeypatch.chdir(tmp_path)
        if source == "":
            tmp_path.joinpath("no-logs-here").touch()
        with pytest.raises(SourceError) as refused:
            open_logs(source)
        assert len(str(refused.value)) < 400

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_a_log_that_may_not_be_read(self, tmp_path: Path) -> None:
        write(tmp_path, {"job.txt": "x"})
        (tmp_path / "job.txt").chmod(0)
        with pytest.raises(SourceError, match="ermission"):
            open_logs(str(tmp_path / "job.txt"))

    def test_a_log_that_goes_away_while_it_is_read(self, tmp_path: Path) -> None:
        write(tmp_path, {"a.txt": "x"})
        (log,) = open_logs(str(tmp_path))
        (tmp_path / "a.txt").unlink()
        with pytest.raises(SourceError, match="a.txt"):
            list(log.blocks)


class TestFolders:
    def test_the_jobs_of_an_unpacked_run_in_their_order(self, tmp_path: Path) -> None:
        write(tmp_path, RUN)
        assert read(tmp_path) == [("0_build.txt", b"one\n"), ("2_lint.txt", b"two\n"), ("10_test (3.12).txt", b"three\n")]

    def test_any_logs_when_they_have_other_names(self, tmp_path: Path) -> None:
        write(tmp_path, {"b.log": "2\n", "d/a.txt": "1\n", "readme.md": "no"})
        assert [name for name, _ in read(tmp_path)] == ["b.log", "d/a.txt"]

    def test_links_are_not_followed(self, tmp_path: Path) -> None:
        write(tmp_path, {"elsewhere/secret.txt": "secret", "logs/a.txt": "x"})
        (tmp_path / "logs/b.txt").symlink_to(tmp_path / "elsewhere/secret.txt")
        (tmp_path / "logs/d").symlink_to(tmp_path / "elsewhere")
        assert read(tmp_path / "logs") == [("a.txt", b"x")]

    def test_a_folder_without_logs(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="no .txt or .log file"):
            open_logs(str(tmp_path))


class TestArchives:
    def test_the_jobs_of_a_run(self, tmp_path: Path) -> None:
        found = read(archive(tmp_path / "logs.zip", RUN))
        assert found == [("0_build.txt", b"one\n"), ("2_lint.txt", b"two\n"), ("10_test (3.12).txt", b"three\n")]

    def test_only_steps_when_the_jobs_are_missing(self, tmp_path: Path) -> None:
        found = read(archive(tmp_path / "logs.zip", {n: t for n, t in RUN.items() if "/" in n}))
        assert [name for name, _ in found] == ["build/1_Set up job.txt", "build/system.txt"]

    def test_the_legacy_names(self, tmp_path: Path) -> None:
        found = read(archive(tmp_path / "logs.zip", {"-2147483648_legacy.txt": "x", "1_a.txt": "y"}))
        assert [name for name, _ in found] == ["-2147483648_legacy.txt", "1_a.txt"]

    @pytest.mark.parametrize("name", ["../../evil.txt", "/etc/evil.txt", "..\\evil.txt", "a/../../evil.txt", "9" * 5000 + "_x.txt"])
    def test_names_lead_nowhere(self, tmp_path: Path, name: str) -> None:
        before = sorted(tmp_path.parent.rglob("*"))
        ((_, data),) = read(archive(tmp_path / "logs.zip", {name: "x"}))
        assert data == b"x"
        assert sorted(set(tmp_path.parent.rglob("*")) - set(before)) == [tmp_path / "logs.zip"]

    def test_a_bomb_is_not_unpacked(self, tmp_path: Path) -> None:
        path = tmp_path / "bomb.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as made, made.open("0_a.txt", "w", force_zip64=True) as entry:
            for _ in range(150):
                entry.write(b"\0" * (1 << 20))
        assert path.stat().st_size < 20_000
        (log,) = open_logs(str(path))
        read_bytes = 0
        with pytest.raises(SourceError, match="more than a log can hold"):
            for block in log.blocks:
                read_bytes += len(block)
        assert read_bytes < 100 << 20

    def test_too_many_files(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="5001 files"):
            open_logs(str(archive(tmp_path / "logs.zip", {f"{n}_a.txt": "" for n in range(5001)})))

    def test_without_a_log(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="no log in this archive"):
            open_logs(str(archive(tmp_path / "logs.zip", {"a.md": "x", "d/": ""})))

    @pytest.mark.parametrize("where", range(0, 100, 4))
    def test_a_damaged_archive_is_one_clear_line_or_still_right(self, tmp_path: Path, where: int) -> None:
        path = archive(tmp_path / "logs.zip", {"0_a.txt": os.urandom(2000) + b"x" * 5000, "1_b.txt": "hello\n" * 100})
        data = bytearray(path.read_bytes())
        at = len(data) * where // 100
        data[at : at + 40] = bytes(b ^ 0xFF for b in data[at : at + 40])
        path.write_bytes(data)
        try:
            read(path)
        except SourceError as refused:
            assert "\n" not in str(refused)

    def test_an_archive_that_was_cut_off(self, tmp_path: Path) -> None:
        path = archive(tmp_path / "logs.zip", {"0_a.txt": os.urandom(5000)})
        path.write_bytes(path.read_bytes()[:3000])
        with pytest.raises(SourceError, match="damaged"):
            read(path)
