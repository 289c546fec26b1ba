"""Logs on disk: a job log, a run's zip, a folder of logs, or standard input. Read in blocks."""

from __future__ import annotations

import lzma
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from orchestrator.errors import SourceError
from orchestrator.model import JobLog

BLOCK = 64 * 1024
_JOB_FILE = re.compile(r"^-?\d{1,10}_[^/]*\.txt$")
_ZIP = b"PK\x03\x04"
_MAX_ENTRIES = 5_000
_MAX_ENTRY = 4 << 30
_MAX_RATIO = 1_000


def open_logs(source: str) -> list[JobLog]:
    """The logs behind a path or ``-``. Raises SourceError when there is nothing to read."""
    if source == "-":
        return [JobLog(source="stdin", blocks=_blocks(sys.stdin.buffer))]
    path = Path(source)
    if _is(path.is_dir):
        return _folder(path)
    if not _is(path.exists):
        source = source if len(source) < 200 else source[:200] + "…"
        raise SourceError(
            f"{source}: no such file or folder; give a log, a run-log zip, a folder, - for standard input, "
            "a run's URL or owner/name#run_id"
        )
    try:
        if zipfile.is_zipfile(path):
            return _archive(path)
        with path.open("rb") as stream:
            if path.is_file() and stream.read(4) == _ZIP:  # what a pipe gave once is gone
                raise SourceError(f"{source}: the archive is damaged (its end is missing); download it again")
    except zipfile.BadZipFile as wrong:
        raise SourceError(f"{source}: the archive is damaged ({wrong}); download it again") from None
    except OSError as wrong:
        raise SourceError(f"{source}: {wrong.strerror}") from None
    return [JobLog(source=_shown(path.name), blocks=_file(path))]


def _is(asked: Callable[[], bool]) -> bool:
    try:
        return asked()
    except (OSError, ValueError):  # a name that no file can have, such as a whole pasted log
        return False


def _shown(name: str) -> str:
    # Names may hold bytes that are no text; reports are UTF-8.
    return name.encode("utf-8", "replace").decode()


def _file(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as stream:
            yield from _blocks(stream)
    except OSError as wrong:
        raise SourceError(f"{path}: {wrong.strerror}") from None


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    while block := stream.read(BLOCK):
        yield block


def _folder(path: Path) -> list[JobLog]:
    files = sorted(f for f in path.rglob("*") if f.suffix in {".txt", ".log"} and f.is_file() and not f.is_symlink())
    names = {f.relative_to(path).as_posix(): f for f in files}
    chosen = _job_files(names) or list(names)
    if not chosen:
        raise SourceError(f"{path}: no .txt or .log file in this folder")
    return [JobLog(source=_shown(name), blocks=_file(names[name])) for name in chosen]


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
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, NotImplementedError, RuntimeError) as wrong:
        raise SourceError(f"{entry.filename}: the archive is damaged ({wrong}); download it again") from None
