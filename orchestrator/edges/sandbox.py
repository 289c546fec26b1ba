"""Runs foreign code on a throw-away copy: no rights, no secrets, no way back.

As root (in the container) the process becomes an unprivileged account; as an ordinary user it
stays that user. Either way it gets a fresh home, an environment made of an allow-list, limits on
time, processes, file size and output, and can't regain privileges. Package managers' lifecycle
scripts are off.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from orchestrator.edges.files import FolderTree, read_plain
from orchestrator.errors import ServiceError
from orchestrator.model import FileChange
from orchestrator.ports import Command, Environment, Result, Tree

_ACCOUNTS = ("sandbox", "nobody")
_OUTPUT_LIMIT = 512 * 1024
_FILE_LIMIT = 2 << 30
_PROCESS_LIMIT = 2048
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_CHILD_SUBREAPER = 36
_PASSED_ON = (
    "LANG", "LC_ALL", "TZ",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL", "NPM_CONFIG_REGISTRY",
)  # fmt: skip
_FIXED = {
    "CI": "true",
    "NO_COLOR": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "npm_config_ignore_scripts": "true",
    "npm_config_audit": "false",
    "npm_config_fund": "false",
    "npm_config_update_notifier": "false",
    "YARN_ENABLE_SCRIPTS": "false",
    "COMPOSER_NO_SCRIPTS": "1",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
}
# Tools that bring certificates of their own would not know a company's.
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# What foreign code may write in a session. The rest, above all the folder that holds these, stays
# ours, so that no link can be put where we write next.
_WRITABLE = ("repository", "home", "tmp", "environments", "tools")
_OFFLINE = {"UV_OFFLINE": "1", "PIP_NO_INDEX": "1", "npm_config_offline": "true"}


class ProcessSandbox:
    """Opens sessions. ``environ`` is what may be passed on from; nothing else is read."""

    def __init__(self, environ: Mapping[str, str], *, uv: str | None = None) -> None:
        self._account = _unprivileged_account()
        self._environ = {
            name: value for name in _PASSED_ON if (value := environ.get(name)) and "@" not in value
        }
        self._home = Path(tempfile.mkdtemp(prefix="mcp-orchestrator-"))
        self._uv = _reachable_uv(uv, self._home, self._account)
        (self._home / "cache").mkdir()
        _open_to(self._account, self._home, "cache")
        _adopt_orphans()

    def close(self) -> None:
        """Remove everything that sessions left behind."""
        shutil.rmtree(self._home, ignore_errors=True)

    @contextmanager
    def session(self, tree: Tree, overlay: Iterable[FileChange] = ()) -> Iterator[ProcessSession]:
        """A session on a copy of ``tree`` with ``overlay`` applied; the copy is removed at its end."""
        folder = Path(tempfile.mkdtemp(dir=self._home, prefix="session-"))
        try:
            copy = folder / "repository"
            copy.mkdir()
            _copy(tree, copy)
            for change in overlay:
                target = copy / change.path
                if change.after is None:
                    target.unlink(missing_ok=True)
                else:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(change.after)
            for name in (*_WRITABLE[1:], "scripts"):
                (folder / name).mkdir()
            _open_to(self._account, folder, *_WRITABLE)
            yield ProcessSession(folder, tree, self._uv, self._home / "cache", self._environ, self._account)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class ProcessSession:
    """One copy and what was made on demand for it."""

    def __init__(
        self, folder: Path, tree: Tree, uv: str, cache: Path,
        environ: Mapping[str, str], account: pwd.struct_passwd | None,
    ) -> None:  # fmt: skip
        self._folder = folder
        self._copy = folder / "repository"
        self._tree = tree
        self._uv = uv
        self._account = account
        self._environ = {
            **({"NODE_EXTRA_CA_CERTS": _CERTIFICATES, "UV_SYSTEM_CERTS": "true"} if os.path.exists(_CERTIFICATES) else {}),
            **environ,
            **_FIXED,
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            "UV_CACHE_DIR": str(cache / "uv"),
            "UV_TOOL_DIR": str(folder / "tools"),
            "UV_NO_CONFIG": "1",
            "npm_config_cache": str(cache / "npm"),
            "PIP_CACHE_DIR": str(cache / "pip"),
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        self._environments: dict[Environment, Path | str] = {}
        self.notes: list[str] = []

    def run(self, command: Command) -> Result:
        """Run to the end or to the time limit; never raises for a failing command."""
        cwd = self._copy / command.cwd
        if not cwd.resolve().is_relative_to(self._copy.resolve()) or not cwd.is_dir():
            return Result(exit_code=0, unavailable=f"there is no folder {command.cwd!r} in the repository")
        argv = list(command.argv)
        if command.script:
            script = self._folder / "scripts" / f"step-{len(os.listdir(self._folder / 'scripts'))}.sh"
            script.write_text(command.script.replace("\r\n", "\n") + "\n", "utf-8")
            script.chmod(0o644)
            argv.append(str(script))
        environ = {**self._environ, **command.env, **({} if command.network else _OFFLINE)}
        if command.environment != Environment():
            made = self._environment(command.environment)
            if isinstance(made, str):
                return Result(exit_code=0, unavailable=made)
            environ["PATH"] = f"{made / 'bin'}:{environ['PATH']}"
            environ["VIRTUAL_ENV"] = str(made)
        if command.requirement:
            # The tool itself always comes from a registry; only what it does is kept offline.
            fetched = self._process(
                [self._uv, "tool", "install", "--quiet", command.requirement], self._copy, self._environ, 300.0
            )
            if fetched.exit_code != 0:
                return Result(exit_code=0, unavailable=_last_line(fetched.output))
            argv = [self._uv, "tool", "run", "--quiet", "--from", command.requirement, *argv]
        return self._process(argv, cwd, environ, command.timeout)

    def changes(self, new: Sequence[str] = ()) -> tuple[FileChange, ...]:
        """Tracked files that differ now, and new files that match one of the ``new`` patterns.

        Raises ServiceError when foreign code left something else there than a plain file.
        """
        found = []
        for path in self._tree.paths():
            before, after = self._tree.read(path), self._read(path)
            if before is not None and before != after:
                found.append(FileChange(path=path, before=before, after=after))
        known = frozenset(self._tree.paths())
        for pattern in new:
            for file in self._copy.glob(pattern):
                path = file.relative_to(self._copy).as_posix()
                if path not in known and (data := self._read(path)) is not None:
                    found.append(FileChange(path=path, before=None, after=data))
        return tuple(found)

    def _read(self, path: str) -> bytes | None:
        # Foreign code wrote here: a link or a pipe in its place would make us read what it may not,
        # or wait for ever.
        try:
            return read_plain(self._copy, path)
        except FileNotFoundError:
            return None
        except OSError as wrong:
            raise ServiceError(f"{path} is no plain file any more ({wrong.strerror or wrong})") from None

    def _environment(self, wanted: Environment) -> Path | str:
        if wanted not in self._environments:
            self._environments[wanted] = self._make_environment(wanted)
        return self._environments[wanted]

    def _make_environment(self, wanted: Environment) -> Path | str:
        folder = self._folder / "environments" / str(len(self._environments))
        make = [self._uv, "venv", "--quiet", str(folder), "--python"]
        # Where no Python can be downloaded, one at hand serves: a few retries would only cost time.
        environ = {**self._environ, "UV_HTTP_RETRIES": "1"}
        made = self._process([*make, wanted.python or "3"], self._copy, environ, 300.0)
        if made.exit_code != 0 and wanted.python not in ("", "3"):
            self.notes.append(f"Python {wanted.python} is not to be had here; another 3.x served")
            made = self._process([*make, "3"], self._copy, environ, 300.0)
        if made.exit_code != 0:
            return f"no Python {wanted.python}: {_last_line(made.output)}"
        if wanted.packages:
            install = [self._uv, "pip", "install", "--quiet", "--python", str(folder), *wanted.packages]
            installed = self._process(install, self._copy, self._environ, 600.0)
            if installed.exit_code != 0:
                return _last_line(installed.output)
        return folder

    def _process(self, argv: Sequence[str], cwd: Path, environ: Mapping[str, str], timeout: float) -> Result:
        account, ours = self._account, _children()
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
        try:
            process = subprocess.Popen(
                argv, cwd=cwd, env=dict(environ), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=_limit, **identity,
            )  # type: ignore[call-overload]  # fmt: skip
        except OSError as wrong:
            return Result(exit_code=0, unavailable=f"{argv[0]}: {wrong.strerror}")
        tail = bytearray()
        reader = threading.Thread(target=_keep_tail, args=(process.stdout, tail), daemon=True)
        reader.start()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            return Result(exit_code=0, unavailable=f"it did not end within {timeout:.0f} seconds")
        finally:
            _end(process, ours, account)
            reader.join(5)
        return Result(exit_code=process.returncode, output=tail.decode("utf-8", "replace"))


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_LIMIT, _FILE_LIMIT))
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    limit = _PROCESS_LIMIT if hard == resource.RLIM_INFINITY else min(hard, _PROCESS_LIMIT)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _adopt_orphans() -> None:
    """Whatever a command leaves running becomes our child instead of init's, so it can be ended."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end(process: subprocess.Popen[bytes], ours: frozenset[int], account: pwd.struct_passwd | None) -> None:
    """End the command's session, then what had left it for a session of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        # Ending a parent makes its children ours in turn.
        foreign = [pid for pid in _children() - ours - {process.pid} if _is_foreign(pid, account)]
        if not foreign:
            return
        for pid in foreign:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children() -> frozenset[int]:
    found, us = set(), os.getpid()
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        with contextlib.suppress(OSError, ValueError):
            # The name in brackets may hold anything, brackets and spaces included.
            state = Path("/proc", name, "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            if int(state[1]) == us:
                found.add(int(name))
    return frozenset(found)


def _is_foreign(pid: int, account: pwd.struct_passwd | None) -> bool:
    # Other threads of this program may have started children meanwhile; those share our session.
    with contextlib.suppress(OSError):
        return os.stat(f"/proc/{pid}").st_uid == account.pw_uid if account else os.getsid(pid) != os.getsid(0)
    return False


def _keep_tail(stream: IO[bytes], tail: bytearray) -> None:
    with stream:
        while block := stream.read1(65536):  # type: ignore[attr-defined]
            tail += block
            del tail[:-_OUTPUT_LIMIT]


def _unprivileged_account() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in _ACCOUNTS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None


def _reachable_uv(uv: str | None, home: Path, account: pwd.struct_passwd | None) -> str:
    if uv is None:
        from uv import find_uv_bin

        uv = find_uv_bin()
    if account is None or all(folder.stat().st_mode & 0o001 for folder in Path(uv).resolve().parents):
        return uv
    # Installed where only root may go (a virtual environment in root's home).
    target = home / "bin" / "uv"
    target.parent.mkdir(mode=0o755)
    shutil.copy2(uv, target)
    return str(target)


def _open_to(account: pwd.struct_passwd | None, folder: Path, *writable: str) -> None:
    if account is None:
        return
    folder.chmod(0o711)
    for name in writable:
        _give(folder / name, account)


def _give(folder: Path, account: pwd.struct_passwd) -> None:
    for current, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            os.chown(os.path.join(current, name), account.pw_uid, account.pw_gid, follow_symlinks=False)


def _copy(tree: Tree, target: Path) -> None:
    root = tree.root if isinstance(tree, FolderTree) else None
    for path in tree.paths():
        file = target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if root is not None:
            shutil.copy2(root / path, file, follow_symlinks=False)
        elif (data := tree.read(path)) is not None:
            file.write_bytes(data)


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it printed nothing"
