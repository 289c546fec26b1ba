"""The REST service: authentication, permissions, limits, caching, pagination, recording."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from .model import Repository, Token
from .shapes import Shapes

if TYPE_CHECKING:
    from .world import Lab

DOCS = "https://docs.github.com/rest"
_MULTI_SEGMENT = {"path", "ref", "branch"}  # parameters whose value may hold slashes


class Refusal(Exception):
    """An answer that ends the request with GitHub's error body."""

    def __init__(self, status: int, message: str, *, docs: str = DOCS, **extra: Any):
        super().__init__(message)
        self.status, self.headers = status, dict[str, str]()
        self.body = {"message": message, **extra, "documentation_url": docs, "status": str(status)}


def not_found() -> Refusal:
    return Refusal(404, "Not Found")


def invalid(resource: str, **error: Any) -> Refusal:
    return Refusal(422, "Validation Failed", errors=[{"resource": resource, **error}])


@dataclass
class Answer:
    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Exchange:
    """One recorded request with its answer."""

    method: str
    path: str
    query: str
    status: int
    token: str  # the kind, never the value
    request: Any = None


@dataclass
class Fault:
    """An answer a test orders for the next matching requests, for retries and limits."""

    method: str
    pattern: re.Pattern[str]
    status: int
    times: int
    body: Any
    headers: dict[str, str]


@dataclass
class Call:
    """What an operation gets: the request, already authorised."""

    lab: Lab
    repository: Repository
    parameters: dict[str, str]
    query: dict[str, str]
    body: dict[str, Any]
    token: Token
    shapes: Shapes
    url: str

    def number(self, name: str) -> int:
        try:
            return int(self.parameters[name])
        except ValueError:
            raise not_found() from None

    def page(self, items: list[Any], shape: Callable[[Any], Any], key: str | None = None) -> Answer:
        """One page of a list, with GitHub's Link header."""
        size = max(1, min(100, int(self.query.get("per_page", 30))))
        number = max(1, int(self.query.get("page", 1)))
        last = max(1, -(-len(items) // size))
        chosen = [shape(item) for item in items[(number - 1) * size : number * size]]
        links = []
        for rel, target in (("prev", number - 1), ("next", number + 1), ("last", last), ("first", 1)):
            if (rel in ("prev", "first") and number > 1) or (rel in ("next", "last") and number < last):
                query = urlencode({**self.query, "page": target})
                links.append(f'<{self.url}?{query}>; rel="{rel}"')
        headers = {"Link": ", ".join(links)} if links else {}
        return Answer(200, {"total_count": len(items), key: chosen} if key else chosen, headers)


Operation = Callable[[Call], Answer]


@dataclass
class Route:
    method: str
    template: str
    permission: tuple[str, str] | None  # ("pull_requests", "write"); "a|b": either of them
    operation: Operation
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        def group(match: re.Match[str]) -> str:
            return f"(?P<{match[1]}>{'.+' if match[1] in _MULTI_SEGMENT else '[^/]+'})"

        self.pattern = re.compile("^" + re.sub(r"\{(\w+)\}", group, self.template) + "$")


ROUTES: list[Route] = []
REPO = "/repos/{owner}/{repo}"


def route(method: str, template: str, permission: str | None) -> Callable[[Operation], Operation]:
    """Register an operation under GitHub's own path template and the permission it needs."""

    def register(operation: Operation) -> Operation:
        scope, _, level = (permission or "").partition(":")
        path = template.replace("R/", REPO + "/", 1) if template.startswith("R/") else template
        ROUTES.append(Route(method, path, (scope, level) if scope else None, operation))
        # Literal segments win over parameters.
        ROUTES.sort(key=lambda r: (r.template.count("{"), -len(r.template)))
        return operation

    return register


class RestHandler(BaseHTTPRequestHandler):
    """One request to the REST API."""

    lab: Lab
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        """Requests are recorded, not printed."""

    def address_string(self) -> str:
        return "loopback"  # a Unix socket has no peer address to print

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        host = self.headers.get("Host", "")
        if host == self.lab.blob_host:
            return self._send_blob()
        url = urlsplit(self.path)
        path, pairs = unquote(url.path), parse_qsl(url.query, keep_blank_values=True)
        try:
            request = json.loads(raw) if raw else None
        except ValueError:
            request = {"problem": "not JSON"}
        token = self._find_token()
        found: Route | None = None
        variables: dict[str, str] = {}
        for candidate in ROUTES:
            match = candidate.pattern.match(path)
            if match and candidate.method == self.command:
                found, variables = candidate, match.groupdict()
                break
        base = self.lab.api_url if host == urlsplit(self.lab.api_url).netloc else f"http://{host}"
        fault = self._fault(path)
        if fault:
            answer = Answer(fault.status, fault.body, dict(fault.headers))
        else:
            answer = self._answer(
                found, variables, token, dict(pairs), request, Shapes(base, self.lab.server_url), base + path
            )
            # GraphQL is not part of the REST document; gh tries it and goes on without it.
            if path != "/graphql":
                self._check(found, path, variables, pairs, request, answer)
        kind = token.kind if token else "none"
        self.lab.requests.append(Exchange(self.command, path, url.query, answer.status, kind, request))
        return self._send(answer, token)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def _find_token(self) -> Token | None:
        scheme, _, value = (self.headers.get("Authorization") or "").partition(" ")
        return self.lab.find_token(value.strip()) if scheme.lower() in ("bearer", "token") else None

    def _fault(self, path: str) -> Fault | None:
        for fault in self.lab.faults:
            if fault.times > 0 and fault.method in (self.command, "*") and fault.pattern.search(path):
                fault.times -= 1
                return fault
        return None

    def _answer(
        self,
        found: Route | None,
        variables: dict[str, str],
        token: Token | None,
        query: dict[str, str],
        request: Any,
        shapes: Shapes,
        url: str,
    ) -> Answer:
        try:
            if not self.headers.get("User-Agent"):
                raise Refusal(
                    403,
                    "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.",
                )
            if self.headers.get("Authorization") and token is None:
                raise Refusal(401, "Bad credentials")
            if found is None:
                raise not_found()
            repository = self._authorise(found, variables, token)
            call = Call(
                self.lab,
                repository,
                variables,
                query,
                request if isinstance(request, dict) else {},
                token,  # type: ignore[arg-type]
                shapes,
                url,
            )
            with repository.lock if repository else self.lab.lock:
                answer = found.operation(call)
        except Refusal as refusal:
            answer = Answer(refusal.status, refusal.body, refusal.headers)
        if self.command == "GET" and answer.status == 200:
            tag = f'W/"{hashlib.sha256(json.dumps(answer.body).encode()).hexdigest()}"'
            answer.headers["ETag"] = tag
            if self.headers.get("If-None-Match") == tag:
                return Answer(304, None, {"ETag": tag})
        if token and answer.status != 304 and "rate_limit" not in self.path:
            token.used += 1
        return answer

    def _authorise(self, found: Route, variables: dict[str, str], token: Token | None) -> Repository:
        if token and token.used >= token.limit:
            refusal = Refusal(
                403,
                "API rate limit exceeded for installation ID 1. If you reach out to GitHub Support for help, please include the request ID.",
            )
            refusal.headers["Retry-After"] = str(int(self._reset() - time.time()))
            raise refusal
        if "owner" not in variables:
            if token is None and found.permission:
                raise Refusal(401, "Requires authentication")
            return None  # type: ignore[return-value]
        repository = self.lab.find_repository(f"{variables['owner']}/{variables['repo']}")
        if repository is None:
            raise not_found()
        visible = token is not None and token.repository in (None, repository.full_name)
        if not visible and repository.private:
            raise not_found()
        if found.permission is None:
            return repository
        scope, level = found.permission
        if token is None:
            # What is public anyone may read, but never a log.
            if level == "read" and not repository.private and not found.template.endswith("/logs"):
                return repository
            raise Refusal(401, "Requires authentication")
        # Deliberately stricter than GitHub, which lets any token read much of a public repository.
        if not visible or not any(token.may(one, level) for one in scope.split("|")):
            who = "personal access token" if token.kind == "pat" else "integration"
            refusal = Refusal(403, f"Resource not accessible by {who}")
            refusal.headers["X-Accepted-GitHub-Permissions"] = "; ".join(f"{one}={level}" for one in scope.split("|"))
            raise refusal
        return repository

    def _check(
        self,
        found: Route | None,
        path: str,
        variables: dict[str, str],
        pairs: list[tuple[str, str]],
        request: Any,
        answer: Answer,
    ) -> None:
        body = self.lab.alter(path, answer.body) if self.lab.alter else answer.body
        self.lab.contract.check(
            self.command,
            found.template if found else None,
            path,
            variables=variables,
            query=pairs,
            request=request,
            status=answer.status,
            response=body,
        )

    @staticmethod
    def _reset() -> int:
        return (int(time.time()) // 3600 + 1) * 3600

    def _send(self, answer: Answer, token: Token | None) -> None:
        data = b"" if answer.body is None else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        limit, used = (token.limit, token.used) if token else (60, 0)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "X-GitHub-Media-Type": "github.v3; format=json",
            "X-GitHub-Request-Id": ":".join(secrets.token_hex(2).upper() for _ in range(5)),
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(0, limit - used)),
            "X-RateLimit-Used": str(used),
            "X-RateLimit-Reset": str(self._reset()),
            "X-RateLimit-Resource": "core",
            **answer.headers,
            "Content-Length": str(len(data)),
        }
        for name, value in headers.items():
            if not (name == "Content-Length" and answer.status in (204, 304)):
                self.send_header(name, value)
        self.end_headers()
        if answer.status not in (204, 304):
            self.wfile.write(data)

    def _send_blob(self) -> None:
        """The storage host behind log downloads: a signed, short-lived address and no token."""
        path = urlsplit(self.path).path
        self.lab.requests.append(Exchange(self.command, f"blob:{path}", "", 0, "none"))
        if self.headers.get("Authorization"):
            status, kind, data = (
                403,
                "application/xml",
                (
                    b'<?xml version="1.0" encoding="utf-8"?><Error><Code>AuthenticationFailed</Code><Message>Server failed '
                    b"to authenticate the request. Make sure the value of Authorization header is formed correctly including "
                    b"the signature.</Message></Error>"
                ),
            )
        elif (found := self.lab.blobs.get(path)) and found[0] > time.monotonic():
            status, kind, data = 200, found[1], found[2]
        else:
            status, kind, data = 403, "application/xml", b"<Error><Code>AuthenticationFailed</Code></Error>"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
