"""A folder of files as a read-only tree, and changes written back all or none."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from orchestrator.edges import yaml
from orchestrator.errors import Conflict, ServiceError
from orchestrator.model import FileChange
from orchestrator.yamlnode import YamlNode

_MAX_FILE = 8 << 20


class FolderTree:
    """The regular files of a folder, as listed by whoever knows (git). Links are never followed."""

    def __init__(self, root: Path, paths: Iterable[str]) -> None:
        self.root = root.resolve()
        self._paths = tuple(sorted(path for path in paths if self._regular(path)))
        self._known = frozenset(self._paths)
        self._parsed: dict[str, YamlNode | None] = {}

    def paths(self) -> Sequence[str]:
        """All files, relative POSIX paths, sorted."""
        return self._paths

    def read(self, path: str) -> bytes | None:
        """A file's bytes; ``None`` when it is not in the tree or larger than 8 MiB."""
        if path not in self._known:
            return None
        try:
            return read_plain(self.root, path)
        except OSError:
            return None

    def text(self, path: str) -> str | None:
        """A file's text, or ``None``: absent or not UTF-8."""
        data = self.read(path)
        try:
            return None if data is None else data.decode()
        except UnicodeDecodeError:
            return None

    def yaml(self, path: str) -> YamlNode | None:
        """A parsed YAML file, or ``None``."""
        if path not in self._parsed:
            text = self.text(path)
            self._parsed[path] = None if text is None else yaml.parse(text)
        return self._parsed[path]

    def _regular(self, path: str) -> bool:
        parts = path.split("/")
        if not path or path.startswith("/") or ".." in parts or ".git" in parts:
            return False
        folder = self.root
        try:
            for part in parts[:-1]:
                folder = folder / part
                if stat.S_ISLNK(folder.lstat().st_mode):
                    return False
            return stat.S_ISREG((folder / parts[-1]).lstat().st_mode)
        except OSError:
            return False


def read_plain(root: Path, path: str) -> bytes:
    """A regular file's bytes, with no link followed anywhere below ``root``. Raises OSError."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        *parents, name = path.split("/")
        for parent in parents:
            inner = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        data = stream.read(_MAX_FILE + 1)
    if len(data) > _MAX_FILE:
        raise OSError(errno.EFBIG, "larger than 8 MiB", path)
    return data


def write_changes(root: Path, changes: Iterable[FileChange]) -> None:
    """Write all changes below ``root`` or none.

    Raises Conflict when a file is not what the change started from, ServiceError when a file
    cannot be written; in both cases everything is as it was.
    """
    changes = list(changes)
    for change in changes:
        path = _inside(root, change.path)
        current = path.read_bytes() if path.is_file() else None
        if current != change.before or path.is_dir():
            raise Conflict(f"{change.path} changed while the mend was made; nothing was written")
    done: list[FileChange] = []
    try:
        for change in changes:
            _put(_inside(root, change.path), change.after)
            done.append(change)
    except OSError as wrong:
        for change in done:
            _put(_inside(root, change.path), change.before)
        raise ServiceError(f"{wrong.filename or root}: {wrong.strerror}; nothing was written") from None


def _inside(root: Path, path: str) -> Path:
    target = root / path
    if not target.parent.resolve().is_relative_to(root.resolve()) or target.is_symlink():
        raise Conflict(f"{path} leads outside the repository; nothing was written")
    return target


def _put(path: Path, data: bytes | None) -> None:
    if data is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode if path.exists() else 0o644
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".mcp-orchestrator-")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(name, stat.S_IMODE(mode))
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
