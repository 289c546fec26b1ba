"""What the acting stages need of the world, as small typed interfaces. ``edges`` implements them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from orchestrator.model import FileChange, Job, WorkflowRun
from orchestrator.yamlnode import YamlNode


class Tree(Protocol):
    """A read-only snapshot of a repository's files. Symbolic links and submodules are left out."""

    def paths(self) -> Sequence[str]:
        """All files, relative POSIX paths, sorted."""

    def read(self, path: str) -> bytes | None:
        """A file's bytes, or ``None`` when it is not there."""

    def text(self, path: str) -> str | None:
        """A file's text (UTF-8, byte order mark kept), or ``None``: absent or not text."""

    def yaml(self, path: str) -> YamlNode | None:
        """A parsed YAML file, or ``None`` when it is absent or does not parse."""


class YamlParser(Protocol):
    """Turns text into nodes with positions."""

    def __call__(self, text: str) -> YamlNode | None:
        """The document's root, or ``None`` for a text that is not one valid YAML document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A virtual environment made on demand: a Python version (``3`` for any) and packages in it."""

    python: str = ""
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Something to run in a sandbox session, in a folder of the copy.

    ``requirement`` names a tool for ``uv tool run``; ``environment`` goes before ``PATH``;
    ``script`` is written to a file outside the copy whose path is added to ``argv``.
    ``timeout`` is in seconds.
    """

    argv: tuple[str, ...]
    requirement: str = ""
    environment: Environment = field(default_factory=Environment)
    script: str = ""
    cwd: str = "."
    env: Mapping[str, str] = field(default_factory=dict)
    network: bool = False
    timeout: float = 300.0

    def __str__(self) -> str:
        import shlex

        return shlex.join(self.argv)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a command ended. ``unavailable`` says why it could not be started at all."""

    exit_code: int
    output: str = ""
    unavailable: str = ""


class Session(Protocol):
    """A throw-away copy of a tree, in which foreign code may run without rights or secrets.

    ``notes`` say in what the session differs from what was asked for.
    """

    notes: list[str]

    def run(self, command: Command) -> Result:
        """Run to the end or to the time limit; never raises for a failing command."""

    def changes(self, new: Sequence[str] = ()) -> tuple[FileChange, ...]:
        """Tracked files that differ now, and new files that match one of the ``new`` patterns."""


class Sandbox(Protocol):
    """Opens sessions."""

    def session(self, tree: Tree, overlay: Iterable[FileChange] = ()) -> AbstractContextManager[Session]:
        """A session on a copy of ``tree`` with ``overlay`` applied."""


class WorkflowChecker(Protocol):
    """A static checker of workflow files."""

    def findings(self, path: str, text: str) -> frozenset[str] | None:
        """Its messages without positions, or ``None`` when the checker is not to be had."""


class Repository(Protocol):
    """One git repository that may be read and, if the gates allow it, written."""

    def tree(self) -> Tree:
        """The files at the commit that failed (or of the user's work tree)."""

    def dirty(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Those of ``paths`` with uncommitted changes."""

    def apply(self, changes: Iterable[FileChange]) -> None:
        """Write the changes into the work tree. All or none."""

    def commit(self, changes: Iterable[FileChange], *, branch: str, message: str) -> str:
        """Commit onto a new ``branch`` made from the failing commit and return the SHA."""

    def remote_branch(self, branch: str) -> str:
        """The commit that ``branch`` is at on the server, or an empty string."""

    def push(self, branch: str, sha: str, *, expect: str = "") -> None:
        """Send it, never by force. Raises ServiceError with GitHub's own reason."""

    def close(self) -> None:
        """Remove what was made for this pass only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """The few facts of a pull request that we use."""

    number: int
    url: str
    head: str
    base: str
    state: str = "open"
    body: str = ""


class GitHub(Protocol):
    """The part of GitHub's REST API that the pipeline uses. Returns model types, never JSON."""

    def run(self, repository: str, run_id: int, attempt: int | None = None) -> WorkflowRun:
        """A run at one attempt, with all its jobs."""

    def runs(self, repository: str, *, status: str = "completed", limit: int = 30) -> list[WorkflowRun]:
        """Recent runs, newest first, without their jobs."""

    def jobs(self, run: WorkflowRun) -> tuple[Job, ...]:
        """All jobs of the run's attempt, annotations of the failed ones included."""

    def job_log(self, repository: str, job_id: int) -> Iterable[bytes] | None:
        """One job's log in blocks, or ``None`` when GitHub has none (404) or no longer (410)."""

    def default_branch(self, repository: str) -> str:
        """The name of the repository's default branch."""

    def pull_requests(self, repository: str, *, head: str, state: str = "open") -> list[PullRequest]:
        """The pull requests from ``head`` (``owner:branch``) that are open, closed, or all of them."""

    def open_pull_request(
        self, repository: str, *, title: str, body: str, head: str, base: str
    ) -> PullRequest:
        """Open one; Conflict when there is one already, AccessDenied when it may not."""

    def rerun_failed_jobs(self, repository: str, run_id: int) -> None:
        """Start the failed jobs of a run again."""

    def open_issue(self, repository: str, *, title: str, body: str, labels: Sequence[str]) -> str:
        """Open an issue and return its address."""


class Progress(Protocol):
    """Tells a person what is going on. Never raises."""

    def stage(self, text: str) -> None:
        """A stage begins."""

    def note(self, text: str) -> None:
        """Something worth a line."""


class Quiet:
    """Progress for nobody."""

    def stage(self, text: str) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything that the pipeline acts through; without GitHub or a repository two are absent.

    The repository is opened only when a recipe needs it, and closed after.
    """

    now: datetime
    parse_yaml: YamlParser
    checker: WorkflowChecker
    sandbox: Sandbox
    open_repository: Callable[[WorkflowRun], Repository] | None = None
    github: GitHub | None = None
    progress: Progress = field(default_factory=Quiet)
