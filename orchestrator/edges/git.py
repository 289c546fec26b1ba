"""Git through GitPython: a clone of the failing commit, or the user's own repository.

Commits are made from blobs and trees, so that no hook, filter or configuration of the repository
has a say and the work tree stays as it is. The token travels in the environment, never in an
argument or a file.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from git import Git
from git.exc import CommandError, GitCommandNotFound

from orchestrator.edges.files import FolderTree, write_changes
from orchestrator.errors import AccessDenied, Conflict, ServiceError, UsageError
from orchestrator.model import FileChange

BOT_NAME = "mcp-orchestrator"
BOT_EMAIL = "mcp-orchestrator@users.noreply.github.com"

_BOT = {
    "GIT_AUTHOR_NAME": BOT_NAME,
    "GIT_AUTHOR_EMAIL": BOT_EMAIL,
    "GIT_COMMITTER_NAME": BOT_NAME,
    "GIT_COMMITTER_EMAIL": BOT_EMAIL,
}
_HARDENED = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.sshCommand": "false",
    "core.autocrlf": "false",
    "protocol.ext.allow": "never",
    "protocol.file.allow": "never",
    "submodule.recurse": "false",
    "status.submoduleSummary": "false",
    "log.showSignature": "false",
    "gc.auto": "0",
}
# Set when git runs us (a hook, rebase --exec), and then about another repository than ours; and
# what no child process needs to know.
_UNSET = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_CONFIG", "GIT_CONFIG_PARAMETERS", "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE", "GIT_REPLACE_REF_BASE", "GIT_QUARANTINE_PATH", "GIT_TEMPLATE_DIR", "GIT_EXEC_PATH",
    "GIT_EXTERNAL_DIFF", "GIT_SSH", "GIT_SSH_COMMAND", "GIT_PROXY_COMMAND", "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS",
    "GITHUB_TOKEN", "GH_TOKEN", "INPUT_TOKEN", "ACTIONS_RUNTIME_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
)  # fmt: skip
# Commands that a repository's own configuration may name. An empty one is none.
_COMMANDS = {"clean": "", "smudge": "", "process": "", "required": "false"}
_FETCH_TIMEOUT = 600  # seconds
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class GitRepository:
    """One repository on disk. ``prefix`` is the folder inside it that the tree starts from."""

    def __init__(self, root: Path, settings: Mapping[str, str], *, remote: str = "") -> None:
        self._root = root
        self._prefix = ""
        self._remote = remote
        self._settings = settings
        self._git = Git(root)
        self._git.update_environment(**_as_environment(settings))
        self._tree: FolderTree | None = None
        self.head = ""

    def tree(self) -> FolderTree:
        """The work tree's files: tracked ones and new ones that git does not ignore."""
        if self._tree is None:
            listed = self._run("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ".")
            self._tree = FolderTree(self._root, filter(None, listed.split("\0")))
        return self._tree

    def dirty(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Those of ``paths`` with uncommitted changes."""
        paths = tuple(paths)
        if not paths:
            return ()  # without a path git would tell of all
        # A submodule would be asked by a git of its own, without our settings.
        options = ("--porcelain", "-z", "--no-renames", "--ignore-submodules=all", "--untracked-files=all")
        out = self._run("status", *options, "--", *(f":(literal){p}" for p in paths))
        return tuple(entry[3:].removeprefix(self._prefix) for entry in out.split("\0") if entry)

    def apply(self, changes: Iterable[FileChange]) -> None:
        """Write the changes into the work tree. All or none."""
        write_changes(self._root, changes)

    def commit(self, changes: Iterable[FileChange], *, branch: str, message: str) -> str:
        """Commit onto a new ``branch`` made from the failing commit and return the SHA.

        Raises Conflict when the branch exists with other content.
        """
        _check_branch(self._git, branch)
        head = self.head or self._run("rev-parse", "--verify", "HEAD^{commit}").strip()
        index = os.path.join(self._git_dir(), f"mcp-orchestrator-index-{os.getpid()}")
        try:
            with self._git.custom_environment(GIT_INDEX_FILE=index):
                self._run("read-tree", head)
                for change in changes:
                    self._stage(change, head)
                tree = self._run("write-tree").strip()
        finally:
            Path(index).unlink(missing_ok=True)
        existing = self._run("for-each-ref", "--format=%(tree) %(objectname)", f"refs/heads/{branch}").split()
        if existing:
            if existing[0] == tree:
                return existing[1]
            raise Conflict(f"the branch {branch} exists with other content; delete it and run again")
        # The failing commit's time makes the same mend the same commit, however often it is made.
        time = _commit_time(self._run("cat-file", "commit", head))
        with self._git.custom_environment(**_BOT, GIT_AUTHOR_DATE=time, GIT_COMMITTER_DATE=time):
            sha = self._run("commit-tree", tree, "-p", head, "-m", message).strip()
        self._run("update-ref", f"refs/heads/{branch}", sha, "0" * len(sha))
        return sha

    def push(self, branch: str, sha: str, *, expect: str = "") -> None:
        """Send ``sha`` as ``branch``, never by force.

        ``expect`` is what the branch must still be at; when it moved, Conflict is raised. A
        refusal raises ServiceError with the server's own words.
        """
        _check_branch(self._git, branch)
        if expect:
            seen = self._run("ls-remote", self._remote, f"refs/heads/{branch}").split()
            if not seen or seen[0] != expect:
                raise Conflict(f"the branch {branch} moved while the mend was made; nothing was pushed")
        self._run("push", "--no-verify", "--porcelain", self._remote, f"{sha}:refs/heads/{branch}")

    def remote_branch(self, branch: str) -> str:
        """The commit that ``branch`` is at on the server, or an empty string."""
        seen = self._run("ls-remote", self._remote, f"refs/heads/{branch}").split()
        return seen[0] if seen else ""

    def close(self) -> None:
        """Nothing to clean up for the user's own repository."""

    def _stage(self, change: FileChange, head: str) -> None:
        path = self._prefix + change.path
        if change.after is None:
            # Unlike the path of an addition, this one is taken from the folder that git runs in.
            self._run("update-index", "--force-remove", "--", change.path)
            return
        known = self._run("ls-tree", "-z", head, "--", f":(top,literal){path}").split()
        mode = known[0] if known and known[0] in {"100644", "100755"} else "100644"
        content = self._as_stored(change, known[2]) if known else change.after
        handle, name = tempfile.mkstemp(prefix="blob-", dir=self._git_dir())
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        try:
            blob = self._run("hash-object", "-w", "--no-filters", name).strip()
        finally:
            Path(name).unlink(missing_ok=True)
        self._run("update-index", "--add", "--cacheinfo", f"{mode},{blob},{path}")

    def _as_stored(self, change: FileChange, blob: str) -> bytes:
        """The new content as git holds the old one, which the work tree may show with other line endings."""
        before, after = change.before or b"", change.after or b""
        stored = self._bytes("cat-file", "blob", blob)
        if stored == before:
            return after
        if stored == before.replace(b"\r\n", b"\n"):
            return after.replace(b"\r\n", b"\n")
        raise Conflict(f"{change.path} is stored in git in another form than in the work tree; use --mode apply or patch")

    def _git_dir(self) -> str:
        return self._run("rev-parse", "--absolute-git-dir").strip()

    def _disarm(self) -> None:
        """Override the filters that the repository's own configuration defines."""
        try:
            names = self._run("config", "--name-only", "-z", "--get-regexp", r"^filter\..*\.(clean|smudge|process)$")
        except ServiceError:
            return  # it defines none
        drivers = {name.split(".", 1)[1].rpartition(".")[0] for name in names.split("\0") if name}
        overrides = {f"filter.{d}.{key}": value for d in sorted(drivers) for key, value in _COMMANDS.items()}
        self._git.update_environment(**_as_environment({**self._settings, **overrides}))

    def _run(self, *arguments: str) -> str:
        return self._bytes(*arguments).decode("utf-8", "surrogateescape")

    def _bytes(self, *arguments: str) -> bytes:
        unset = [word for name in _UNSET if name not in self._git.environment() for word in ("-u", name)]
        command = ["env", *unset, "git", *arguments]
        try:
            done = self._git.execute(
                command, kill_after_timeout=_FETCH_TIMEOUT, strip_newline_in_stdout=False, stdout_as_string=False
            )
        except GitCommandNotFound:
            raise UsageError("git is not installed; install it and run again") from None
        except CommandError as failed:
            if failed.status == 127:
                raise UsageError("git is not installed; install it and run again") from None
            raise _refusal(arguments[0], str(failed.stdout or ""), str(failed.stderr or "")) from None
        assert isinstance(done, bytes)
        return done


class Clone(GitRepository):
    """A fresh, shallow, throw-away clone of one commit."""

    def close(self) -> None:
        """Remove the clone."""
        shutil.rmtree(self._root, ignore_errors=True)


def open_local(folder: Path) -> GitRepository:
    """The user's repository that ``folder`` is in. Raises UsageError when there is none."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    folder = folder.resolve()
    top = next((f for f in (folder, *folder.parents) if (f / ".git").exists()), folder)
    repository = GitRepository(folder, _settings(top))
    try:
        prefix = repository._run("rev-parse", "--show-prefix").strip("\n")
        head = repository._run("rev-parse", "--verify", "--quiet", "HEAD^{commit}").strip()
    except ServiceError as failed:
        if "dubious ownership" in str(failed):
            raise UsageError(f"{folder}: {failed}") from None
        raise UsageError(f"{folder} is not a git repository with a commit; run `git init` and commit first") from None
    repository._prefix = prefix
    repository.head = head
    repository._disarm()
    return repository


def create(folder: Path, *, message: str) -> None:
    """Make a repository of a folder's files, with one commit on ``main``."""
    repository = GitRepository(folder, _settings(folder.resolve()))
    repository._git.update_environment(**_BOT)
    repository._run("init", "--quiet", "--template=", "--initial-branch", "main", ".")
    repository._run("add", "--all", ".")
    repository._run("commit", "--quiet", "--no-verify", "--no-gpg-sign", "-m", message)


def clone(server_url: str, repository: str, sha: str, token: str) -> Clone:
    """Fetch one commit of ``owner/name`` and check it out into a temporary folder.

    The token is sent as the runner's checkout does, for this server only.
    """
    host = urlsplit(server_url)
    credential = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    extra = {f"http.{host.scheme}://{host.netloc}/.extraheader": f"AUTHORIZATION: basic {credential}"} if token else {}
    root = Path(tempfile.mkdtemp(prefix="mcp-orchestrator-clone-"))
    made = Clone(root, _settings(root, extra), remote=f"{server_url.rstrip('/')}/{repository}.git")
    try:
        if not _SHA.fullmatch(sha):
            raise ServiceError(f"{sha!r} is not a commit")
        made._run("init", "--quiet", "--template=", "--initial-branch", "mcp-orchestrator-base", ".")
        made._run("fetch", "--quiet", "--depth", "1", "--no-tags", made._remote, sha)
        # Byte for byte as they are stored: no line ending, filter or encoding is converted.
        attributes = root / ".git" / "info" / "attributes"
        attributes.parent.mkdir(exist_ok=True)
        attributes.write_text("* -text -eol -filter -ident -working-tree-encoding\n")
        made._run("checkout", "--quiet", "--detach", "FETCH_HEAD")
        made.head = sha
    except BaseException:
        made.close()
        raise
    return made


def _settings(top: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    # In a container the folder often belongs to another account than ours.
    return {**_HARDENED, **(extra or {}), "safe.directory": str(top)}


def _as_environment(settings: Mapping[str, str]) -> dict[str, str]:
    environ = {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_OPTIONAL_LOCKS": "0",
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for number, (key, value) in enumerate(settings.items()):
        environ[f"GIT_CONFIG_KEY_{number}"] = key
        environ[f"GIT_CONFIG_VALUE_{number}"] = value
    return environ


def _commit_time(commit: str) -> str:
    line = next(line for line in commit.split("\n") if line.startswith("committer "))
    return f"{line.split()[-2]} +0000"


def _check_branch(git: Git, branch: str) -> None:
    try:
        git.execute(["git", "check-ref-format", "--branch", branch])
    except CommandError:
        raise ServiceError(f"{branch!r} is no valid branch name") from None


def _refusal(verb: str, stdout: str, stderr: str) -> ServiceError:
    # GitPython decorates both streams; GitHub's own words are in lines that begin with `remote:`
    # and in the reason in brackets after `[remote rejected]`.
    text = f"{stdout}\n{stderr}"
    lines = [re.sub(r"^(?:stdout|stderr): '", "", line.strip()).strip("'").strip() for line in text.splitlines()]
    remote = [line.removeprefix("remote:").strip() for line in lines if line.startswith("remote:")]
    remote = [line for line in remote if line.startswith(("error", "fatal", "-")) or "GH0" in line]
    rejected = [line.split("(", 1)[1].rstrip(")") for line in lines if "[remote rejected]" in line and "(" in line]
    if (verb == "push" and rejected) or remote:
        reason = "; ".join(dict.fromkeys([*remote, *rejected]))
        return AccessDenied(f"the push was refused: {reason}")
    if "[rejected]" in text or "non-fast-forward" in text or "fetch first" in text:
        return Conflict("the push was refused because the branch moved; nothing was overwritten")
    if re.search(r"error: 40[13]\b", text) or "Authentication failed" in text or "could not read Username" in text:
        return AccessDenied(f"git {verb}: the token may not do this; it needs the permission contents: "
                            + ("write" if verb == "push" else "read"))
    last = next((line for line in lines if line.startswith(("fatal:", "error:"))), "")
    return ServiceError(f"git {verb} failed: {(last or text.strip())[:300]}")
