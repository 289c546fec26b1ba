"""Logs on disk: a job log, a run's zip, a folder of logs, or standard input. Read in blocks."""

from __future__ import annotations

import re
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from orchestrator.errors import SourceError
from orchestrator.model import JobLog

BLOCK = 64 * 1024
_JOB_FILE = re.compile(r"^-?\d+_[^/]*\.txt$")
_MAX_ENTRIES = 5_000
_MAX_ENTRY = 4 << 30
_MAX_RATIO = 1_000


def open_logs(source: str) -> list[JobLog]:
    """The logs behind a path or ``-``. Raises SourceError when there is nothing to read."""
    if source == "-":
        return [JobLog(source="stdin", blocks=_blocks(sys.stdin.buffer))]
    path = Path(source)
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise SourceError(
            f"{source}: no such file or folder; give a log, a run-log zip, a folder, - for standard input, "
            "a run's URL or owner/name#run_id"
        )
    try:
        if zipfile.is_zipfile(path):
            return _archive(path)
        path.open("rb").close()
    except OSError as wrong:
        raise SourceError(f"{source}: {wrong.strerror}") from None
    return [JobLog(source=path.name, blocks=_file(path))]


def _file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        yield from _blocks(stream)


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    while block := stream.read(BLOCK):
        yield block


def _folder(path: Path) -> list[JobLog]:
    files = sorted(f for f in path.rglob("*") if f.suffix in {".txt", ".log"} and f.is_file() and not f.is_symlink())
    names = {f.relative_to(path).as_posix(): f for f in files}
    chosen = _job_files(names) or list(names)
    if not chosen:
        raise SourceError(f"{path}: no .txt or .log file in this folder")
    return [JobLog(source=name, blocks=_file(names[name])) for name in chosen]


def _archive(path: Path) -> list[JobLog]:
    archive = zipfile.ZipFile(path)
    entries = {e.filename: e for e in archive.infolist() if not e.is_dir() and e.filename.endswith(".txt")}
    if len(entries) > _MAX_ENTRIES:
        raise SourceError(f"{path}: {len(entries)} files in the archive, more than a run's logs can have")
    chosen = _job_files(entries) or sorted(entries)
    if not chosen:
        raise SourceError(f"{path}: no log in this archive")
    return [JobLog(source=name, blocks=_entry(archive, entries[name])) for name in chosen]


def _job_files(names: Iterable[str]) -> list[str]:
    # The archive holds every line twice, whole jobs at the top and steps in folders.
    return sorted((n for n in names if _JOB_FILE.match(n)), key=lambda n: (int(n.split("_", 1)[0]), n))


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    read = 0
    try:
        with archive.open(entry) as stream:
            while block := stream.read(BLOCK):
                read += len(block)
                if read > _MAX_ENTRY or read > _MAX_RATIO * max(entry.compress_size, BLOCK):
                    raise SourceError(f"{entry.filename}: unpacks to more than a log can hold; not read further")
                yield block
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as wrong:
        raise SourceError(f"{entry.filename}: the archive is damaged ({wrong}); download it again") from None
