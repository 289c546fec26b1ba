"""GitHub's REST API through httpx: few calls, typed results, every refusal as one clear line."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import stamina

from orchestrator import __version__
from orchestrator.errors import AccessDenied, Conflict, NotFound, ServiceError
from orchestrator.event import run_from_api
from orchestrator.model import Job, Step, WorkflowRun
from orchestrator.ports import PullRequest

_TIMEOUT = httpx.Timeout(30.0, connect=10.0)
_BROKEN = frozenset({500, 502, 503, 504})
_MOVED = frozenset({301, 307, 308})  # a repository that was renamed
_ATTEMPTS = 4
_MAX_MOVES = 3
_LONGEST_WAIT = 60.0  # seconds
_PAGE = 100

T = TypeVar("T")


class _Again(Exception):
    """An answer that is worth another try, after ``wait`` seconds if GitHub names them."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


class GitHubClient:
    """One server, one token. Close it after use."""

    def __init__(self, api_url: str, token: str, *, transport: httpx.BaseTransport | None = None) -> None:
        headers = {
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
            "User-Agent": f"mcp-orchestrator/{__version__}",
        }
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._client = httpx.Client(
            base_url=api_url.rstrip("/"), headers=headers, timeout=_TIMEOUT, follow_redirects=False, transport=transport
        )
        # Log archives lie on another host, which refuses (and must not see) the token.
        self._storage = httpx.Client(timeout=_TIMEOUT, transport=transport)
        self._default_branches: dict[str, str] = {}

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._storage.close()

    # --- runs -----------------------------------------------------------------------------

    def run(self, repository: str, run_id: int, attempt: int | None = None) -> WorkflowRun:
        """A run at one attempt (the newest by default), with all its jobs."""
        suffix = f"/attempts/{attempt}" if attempt else ""
        path = f"/repos/{repository}/actions/runs/{run_id}{suffix}"
        found = self._get(path, run_from_api, needs="actions: read")
        return replace(found, jobs=self.jobs(found))

    def runs(self, repository: str, *, status: str = "completed", limit: int = 30) -> list[WorkflowRun]:
        """Recent runs, newest first, without their jobs."""
        params = {"status": status, "per_page": str(min(limit, _PAGE))}
        found = self._pages(f"/repos/{repository}/actions/runs", _runs, needs="actions: read", params=params)
        return list(islice(found, limit))

    def jobs(self, run: WorkflowRun) -> tuple[Job, ...]:
        """All jobs of the run's attempt; those that never got a log come with their annotations."""
        path = f"/repos/{run.repository}/actions/runs/{run.run_id}/attempts/{run.attempt}/jobs"
        jobs = list(self._pages(path, _jobs, needs="actions: read"))
        return tuple(
            replace(job, annotations=self._annotations(run.repository, job))
            if job.conclusion in {"failure", "cancelled"} and not job.steps
            else job
            for job in jobs
        )

    def job_log(self, repository: str, job_id: int) -> Iterator[bytes] | None:
        """One job's log in blocks, or ``None`` when GitHub has none (404) or no longer (410)."""
        path = f"/repos/{repository}/actions/jobs/{job_id}/logs"
        try:
            answer = self._send("GET", path, needs="actions: read")
        except NotFound:
            return None
        location = answer.headers.get("location")
        if answer.status_code == 200:
            return iter([answer.content])
        if not location:
            raise ServiceError(f"GET {path}: GitHub answered {answer.status_code} without a location")
        return self._stream(str(answer.url.join(location)))

    def rerun_failed_jobs(self, repository: str, run_id: int) -> None:
        """Start the failed jobs of a run again."""
        self._send("POST", f"/repos/{repository}/actions/runs/{run_id}/rerun-failed-jobs", needs="actions: write", json={})

    # --- the repository ----------------------------------------------------------------------

    def default_branch(self, repository: str) -> str:
        """The name of the repository's default branch."""
        if repository not in self._default_branches:
            found = self._get(f"/repos/{repository}", lambda raw: str(raw["default_branch"]), needs="metadata: read")
            self._default_branches[repository] = found
        return self._default_branches[repository]

    def file(self, repository: str, path: str, ref: str) -> str | None:
        """A text file at a ref, or ``None`` when it is not there."""
        try:
            return self._get(
                f"/repos/{repository}/contents/{quote(path)}", _content, needs="contents: read", params={"ref": ref}
            )
        except NotFound:
            return None

    # --- pull requests and issues --------------------------------------------------------------

    def pull_requests(self, repository: str, *, head: str, state: str = "open") -> list[PullRequest]:
        """The pull requests from ``head`` (``owner:branch``) that are open, closed, or all of them."""
        params = {"state": state, "head": head, "per_page": str(_PAGE)}
        return self._get(
            f"/repos/{repository}/pulls", lambda found: [_pull_request(raw) for raw in found], needs="pull-requests: read", params=params
        )

    def open_pull_request(self, repository: str, *, title: str, body: str, head: str, base: str) -> PullRequest:
        """Open one; Conflict when there is one already, AccessDenied when it may not."""
        body_json = {"title": title, "body": body, "head": head, "base": base, "maintainer_can_modify": True}
        answer = self._send("POST", f"/repos/{repository}/pulls", needs="pull-requests: write", json=body_json)
        return _read(answer, _pull_request)

    def open_issue(self, repository: str, *, title: str, body: str, labels: Sequence[str]) -> str:
        """Open an issue and return its address."""
        sent = {"title": title, "body": body, "labels": list(labels)}
        answer = self._send("POST", f"/repos/{repository}/issues", needs="issues: write", json=sent)
        return _read(answer, lambda raw: str(raw["html_url"]))

    # --- one exchange -------------------------------------------------------------------------

    def _annotations(self, repository: str, job: Job) -> tuple[str, ...]:
        path = f"/repos/{repository}/check-runs/{job.job_id}/annotations"
        try:
            return self._get(path, lambda found: tuple(str(raw.get("message") or "") for raw in found), needs="checks: read")
        except ServiceError:
            return ()  # a token without checks: read still sees the jobs and their logs

    def _get(
        self, path: str, convert: Callable[[Any], T], *, needs: str, params: Mapping[str, str] | None = None
    ) -> T:
        return _read(self._send("GET", path, needs=needs, params=params), convert)

    def _pages(
        self, path: str, convert: Callable[[Any], list[T]], *, needs: str, params: Mapping[str, str] | None = None
    ) -> Iterator[T]:
        answer = self._send("GET", path, needs=needs, params=params or {"per_page": str(_PAGE)})
        while True:
            yield from _read(answer, convert)
            following = answer.links.get("next", {}).get("url")
            if not following:
                return
            answer = self._send("GET", self._here(answer, following), needs=needs)

    def _here(self, answer: httpx.Response, location: str) -> str:
        """Where an answer sends us, provided that the token may go there too."""
        target, own = answer.url.join(location), self._client.base_url
        if (target.scheme, target.host, target.port) != (own.scheme, own.host, own.port):
            raise ServiceError(f"{answer.request.method} {answer.request.url.path}: it leads to another host, {target.host}; nothing was sent there")
        return str(target)

    def _send(
        self, method: str, path: str, *, needs: str, params: Mapping[str, str] | None = None, json: Any = None
    ) -> httpx.Response:
        # A write whose answer was lost may have been done, so only reads are tried again.
        attempts = _ATTEMPTS if method == "GET" else 1
        try:
            for attempt in stamina.retry_context(on=_backoff, attempts=attempts, wait_initial=0.5, wait_max=20, timeout=90):
                with attempt:
                    return self._followed(self._once(method, path, needs, params, json), needs)
        except _Again as failed:
            tried = f"did not recover in {attempts} tries" if attempts > 1 else "may have done it nevertheless"
            raise ServiceError(f"{method} {path}: {failed}; GitHub {tried}") from None
        raise AssertionError("unreachable")

    def _followed(self, answer: httpx.Response, needs: str) -> httpx.Response:
        method, path = answer.request.method, answer.request.url.path
        for _ in range(_MAX_MOVES if method == "GET" else 0):
            if answer.status_code not in _MOVED:
                break
            answer = self._once(method, self._here(answer, answer.headers.get("location", "")), needs, None, None)
        if answer.status_code in _MOVED:
            raise ServiceError(f"{method} {path}: GitHub answered with a redirect; was the repository renamed?")
        return answer

    def _once(
        self, method: str, path: str, needs: str, params: Mapping[str, str] | None, json: Any
    ) -> httpx.Response:
        try:
            answer = self._client.request(method, path, params=params, json=json)
        except httpx.RequestError as failed:
            raise _Again(f"no answer ({failed})") from None
        wait = _number(answer.headers.get("retry-after"))
        slow_down = answer.status_code == 429 or (answer.status_code == 403 and wait > 0)
        if answer.status_code in _BROKEN or (slow_down and method == "GET" and wait <= _LONGEST_WAIT):
            raise _Again(f"GitHub answered {answer.status_code}", min(wait, _LONGEST_WAIT))
        if answer.status_code < 400:
            return answer
        raise _refusal(method, path, needs, answer)

    def _stream(self, location: str) -> Iterator[bytes]:
        try:
            with self._storage.stream("GET", location, headers={"Accept-Encoding": "identity"}) as answer:
                if answer.status_code in (404, 410):
                    return
                if answer.status_code >= 400:
                    raise ServiceError(f"the log's storage answered {answer.status_code}", status=answer.status_code)
                yield from answer.iter_bytes(65536)
        except (httpx.RequestError, httpx.InvalidURL) as failed:
            raise ServiceError(f"the log broke off while it was read ({failed}); run again") from None


def _read(answer: httpx.Response, convert: Callable[[Any], T]) -> T:
    try:
        return convert(answer.json())
    except (ValueError, KeyError, TypeError, AttributeError):
        sent = answer.request
        raise ServiceError(
            f"{sent.method} {sent.url.path}: the answer is not GitHub's; is a proxy in between, or GITHUB_API_URL wrong?"
        ) from None


def _backoff(failed: Exception) -> bool | float:
    return isinstance(failed, _Again) and (failed.wait or True)


def _number(header: str | None) -> float:
    return float(header) if header and header.isdecimal() and len(header) < 12 else 0.0


def _refusal(method: str, path: str, needs: str, answer: httpx.Response) -> ServiceError:
    try:
        told = answer.json()
    except ValueError:
        told = {"message": answer.text[:200]}
    told = told if isinstance(told, dict) else {}
    said = " ".join(str(told.get("message") or "").split())
    status = answer.status_code
    what = f"{method} {path}: {status} {said}".rstrip()
    if status == 401:
        return AccessDenied(f"{what}; the token is not valid (any more): check the input `token`", status=status)
    if status == 403 and answer.headers.get("x-ratelimit-remaining") == "0":
        reset = datetime.fromtimestamp(_number(answer.headers.get("x-ratelimit-reset")), UTC)
        return ServiceError(f"{what}; the rate limit is used up until {reset:%H:%M} UTC", status=status)
    if status == 429 or (status == 403 and ("rate limit" in said or "retry-after" in answer.headers)):
        return ServiceError(f"{what}; GitHub wants fewer requests: run again in a few minutes", status=status)
    if status == 403:
        accepted = answer.headers.get("x-accepted-github-permissions", "").replace("=", ": ")
        if "not permitted to create or approve pull requests" in said:
            return AccessDenied(
                f"{what} Allow it in the repository's Settings > Actions > General, or pass an App token", status=status
            )
        return AccessDenied(f"{what}; the token lacks the permission `{accepted or needs}`", status=status)
    if status in (404, 410):
        return NotFound(f"{what}; it is not there, or the token lacks `{needs}`", status=status)
    if status in (409, 422):
        errors = told.get("errors") or []
        errors = errors if isinstance(errors, list) else [errors]
        details = "; ".join(str(e.get("message") or e) if isinstance(e, dict) else str(e) for e in errors)
        return Conflict(f"{what}{': ' + details if details else ''}", status=status)
    return ServiceError(what, status=status)


def _runs(page: Any) -> list[WorkflowRun]:
    return [run_from_api(raw) for raw in page["workflow_runs"]]


def _jobs(page: Any) -> list[Job]:
    return [_job(raw) for raw in page["jobs"]]


def _job(raw: Mapping[str, Any]) -> Job:
    return Job(
        job_id=int(raw["id"]),
        name=str(raw["name"]),
        status=str(raw["status"]),
        conclusion=raw.get("conclusion"),
        steps=tuple(
            Step(
                number=int(step["number"]), name=str(step["name"]), status=str(step["status"]),
                conclusion=step.get("conclusion"), started_at=step.get("started_at"), completed_at=step.get("completed_at"),
            )
            for step in raw.get("steps") or ()
        ),
        labels=tuple(raw.get("labels") or ()),
        runner_name=raw.get("runner_name"),
        started_at=raw.get("started_at"),
        completed_at=raw.get("completed_at"),
        html_url=raw.get("html_url"),
    )  # fmt: skip


def _content(raw: Any) -> str | None:
    if not isinstance(raw, dict) or raw.get("type") != "file" or raw.get("encoding") != "base64":
        return None
    return base64.b64decode(raw["content"]).decode("utf-8", "replace")


def _pull_request(raw: Mapping[str, Any]) -> PullRequest:
    return PullRequest(
        number=int(raw["number"]), url=str(raw["html_url"]), head=str(raw["head"]["ref"]), base=str(raw["base"]["ref"]),
        state=str(raw["state"]), body=str(raw.get("body") or ""),
    )  # fmt: skip


