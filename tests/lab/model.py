"""What the miniature GitHub knows: repositories, runs, pull requests, issues, tokens."""

from __future__ import annotations

import base64
import itertools
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BOT = "github-actions[bot]"
BOT_ID = 41898282  # GitHub's own id of that account
_ids = itertools.count(7_100_000_001, 13)
_lock = threading.Lock()


def new_id() -> int:
    """A number no other object of this process has."""
    with _lock:
        return next(_ids)


def node_id(kind: str, number: int) -> str:
    return base64.b64encode(f"{kind}:{number}".encode()).decode()


def now() -> datetime:
    return datetime.now(UTC)


def stamp(moment: datetime | None) -> str | None:
    """A time as the REST API writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def log_stamp(nanoseconds: int) -> str:
    """A time as the runner writes it: seven fractional digits."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{rest // 100:07d}Z"


def normal_permissions(permissions: dict[str, str]) -> dict[str, str]:
    """Permission names as the REST API writes them (`pull_requests`), metadata always readable."""
    return {"metadata": "read", **{key.replace("-", "_"): value for key, value in permissions.items()}}


@dataclass(eq=False)
class Token:
    """A credential, made at run time, with what it may do."""

    kind: str  # actions | app | pat
    login: str
    repository: str | None
    permissions: dict[str, str]
    limit: int
    user_id: int = field(default_factory=new_id)
    expired: bool = False
    used: int = 0
    value: str = ""

    def __post_init__(self) -> None:
        prefix = {"actions": "ghs", "app": "ghs", "pat": "github_pat"}[self.kind]
        self.value = self.value or f"{prefix}_{secrets.token_urlsafe(27).replace('-', 'x')}"

    def may(self, scope: str, level: str) -> bool:
        granted = self.permissions.get(scope, "none")
        return granted in ({"read": ("read", "write", "admin"), "write": ("write", "admin")}[level])

    def __str__(self) -> str:
        return self.value


@dataclass(eq=False)
class Comment:
    id: int
    body: str
    login: str
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)


@dataclass(eq=False)
class Issue:
    """An issue, or the conversation side of a pull request."""

    number: int
    title: str
    body: str | None
    login: str
    id: int = field(default_factory=new_id)
    state: str = "open"
    state_reason: str | None = None
    labels: list[str] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    pull: PullRequest | None = None
    created_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)
    closed_at: datetime | None = None


@dataclass(eq=False)
class PullRequest:
    """A pull request; its title, body, labels and state live in its issue."""

    issue: Issue
    head: str
    head_repository: Repository
    base: str
    head_sha: str
    base_sha: str
    draft: bool = False
    kind: str = "person"
    id: int = field(default_factory=new_id)
    merged_at: datetime | None = None
    merge_sha: str | None = None

    def __getattr__(self, name: str) -> Any:
        if name in {"number", "title", "body", "state", "labels", "login", "comments"}:
            return getattr(self.issue, name)
        raise AttributeError(name)


@dataclass(eq=False)
class Annotation:
    message: str
    level: str = "failure"
    path: str = ".github"
    line: int = 1
    title: str = ""


@dataclass(eq=False)
class Step:
    name: str
    number: int
    status: str = "queued"
    conclusion: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    lines: list[tuple[int, str]] = field(default_factory=list)

    def write(self, text: str, at: int | None = None) -> None:
        self.lines.append((at or time.time_ns(), text))


@dataclass(eq=False)
class Job:
    key: str
    name: str
    labels: list[str]
    id: int = field(default_factory=new_id)
    status: str = "queued"
    conclusion: str | None = None
    created_at: datetime = field(default_factory=now)
    started_at: datetime | None = None
    completed_at: datetime | None = None
    steps: list[Step] = field(default_factory=list)
    annotations: list[Annotation] = field(default_factory=list)
    has_runner: bool = False
    has_log: bool = False
    system: list[tuple[int, str]] = field(default_factory=list)
    matrix: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Attempt:
    number: int
    triggering_actor: str
    status: str = "queued"
    conclusion: str | None = None
    started_at: datetime = field(default_factory=now)
    updated_at: datetime = field(default_factory=now)
    jobs: list[Job] = field(default_factory=list)


@dataclass(eq=False)
class Workflow:
    path: str
    name: str
    id: int = field(default_factory=new_id)
    created_at: datetime = field(default_factory=now)


@dataclass(eq=False)
class Run:
    """A workflow run; what changes from attempt to attempt lives in its attempts."""

    repository: Repository
    workflow: Workflow
    number: int
    event: str
    head_branch: str
    head_sha: str
    actor: str
    payload: dict[str, Any]
    ref: str
    sha: str  # what is checked out: differs from head_sha for a pull request's merge commit
    title: str
    source: str  # the workflow file's text
    head_repository: Repository
    depth: int = 0
    id: int = field(default_factory=new_id)
    check_suite_id: int = field(default_factory=new_id)
    created_at: datetime = field(default_factory=now)
    attempts: list[Attempt] = field(default_factory=list)
    logs_expired: bool = False
    problem: str = ""  # why a startup failure happened; GitHub shows it on the page only
    report: str = ""  # what act itself printed, for a test's failure message

    @property
    def latest(self) -> Attempt:
        return self.attempts[-1]

    @property
    def attempt(self) -> int:
        return self.latest.number

    @property
    def status(self) -> str:
        return self.latest.status

    @property
    def conclusion(self) -> str | None:
        return self.latest.conclusion

    @property
    def jobs(self) -> list[Job]:
        return self.latest.jobs

    @property
    def name(self) -> str:
        return self.workflow.name

    def job(self, name: str) -> Job:
        """The latest attempt's job with this name or key."""
        return next(job for job in self.jobs if name in (job.name, job.key))


@dataclass(eq=False)
class Repository:
    full_name: str
    git: Path  # the bare repository
    private: bool = False
    default_branch: str = "main"
    protected: tuple[str, ...] = ()
    rulesets: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    default_permissions: dict[str, str] = field(default_factory=lambda: {"contents": "read", "packages": "read"})
    allow_actions_to_create_pull_requests: bool = True
    collaborators: dict[str, str] = field(default_factory=lambda: {"octocat": "admin"})
    secrets: dict[str, str] = field(default_factory=dict)
    fork_of: Repository | None = None
    id: int = field(default_factory=new_id)
    created_at: datetime = field(default_factory=now)
    workflows: dict[str, Workflow] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    issues: dict[int, Issue] = field(default_factory=dict)
    labels: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    commit_comments: dict[str, list[Comment]] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.RLock)

    @property
    def owner(self) -> str:
        return self.full_name.split("/")[0]

    @property
    def name(self) -> str:
        return self.full_name.split("/")[1]

    def pulls(self) -> list[PullRequest]:
        return [issue.pull for issue in self.issues.values() if issue.pull]

    def next_number(self) -> int:
        return max(self.issues, default=0) + 1
