"""GitHub's REST API against a small server on the loopback interface: what is sent, what is made of answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import stamina
from values import run

from orchestrator.edges.github import GitHubClient
from orchestrator.errors import AccessDenied, Conflict, NotFound, ServiceError

TOKEN = "t" + "oken-" * 4


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """What to answer; ``cut`` breaks the connection after so many bytes, the status 0 before any."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


class Server:
    """Answers in the order given for a path; the last answer is for all further requests."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: dict[str, list[Answer]] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.asked.append(Asked(self.command, self.path, headers, body))
                queue = outer.answers.get(self.path) or outer.answers.get(self.path.split("?")[0]) or [Answer(404, {"message": "Not Found"})]
                answer = queue.pop(0) if len(queue) > 1 else queue[0]
                if answer.status == 0:
                    self.close_connection = True
                    return
                content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                self.send_response(answer.status)
                for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content if answer.cut is None else content[: answer.cut])
                self.close_connection = answer.cut is not None

            do_GET = do_POST = serve

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def says(self, path: str, *answers: Answer | Any) -> None:
        self.answers[path] = [a if isinstance(a, Answer) else Answer(body=a) for a in answers]

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.close()


@pytest.fixture
def storage() -> Iterator[Server]:
    """Where logs lie: another server, as at GitHub."""
    one = Server()
    yield one
    one.close()


@pytest.fixture
def github(server: Server) -> Iterator[GitHubClient]:
    client = GitHubClient(server.url, TOKEN)
    yield client
    client.close()


@pytest.fixture
def no_waits() -> Iterator[None]:
    """The same number of tries, one at once after the other."""
    with stamina.set_testing(True, attempts=4, cap=True):
        yield


def raw_run(number: int = 7, **keys: Any) -> dict[str, Any]:
    repository = {"id": 1, "full_name": "octo/demo", "default_branch": "main"}
    return {"id": number, "name": "CI", "status": "completed", "conclusion": "failure", "run_attempt": 2, "head_branch": "main",
            "head_sha": "a" * 40, "event": "push", "path": ".github/workflows/ci.yml", "repository": repository,
            "head_repository": repository, **keys}  # fmt: skip


def raw_job(number: int, **keys: Any) -> dict[str, Any]:
    step = {"number": 1, "name": "Set up job", "status": "completed", "conclusion": "success"}
    return {"id": number, "name": f"job {number}", "status": "completed", "conclusion": "failure", "steps": [step], "labels": ["ubuntu-latest"], **keys}


RUNS, REPO = "/repos/octo/demo/actions/runs", "/repos/octo/demo"
JOBS = f"{RUNS}/7/attempts/2/jobs"
LOG = f"{REPO}/actions/jobs/5/logs"


class TestReading:
    def test_a_run_of_a_deleted_fork(self, server: Server, github: GitHubClient) -> None:
        server.says(f"{RUNS}/7", raw_run(head_repository=None, actor=None, head_commit=None))
        server.says(JOBS, {"jobs": []})
        found = github.run("octo/demo", 7)
        assert (found.head_repository_id, found.repository_id, found.actor) == (None, 1, "")

    def test_what_every_request_carries(self, server: Server, github: GitHubClient) -> None:
        server.says(REPO, {"default_branch": "main"})
        assert github.default_branch("octo/demo") == github.default_branch("octo/demo") == "main"
        (asked,) = server.asked
        assert asked.headers["authorization"] == f"Bearer {TOKEN}"
        assert asked.headers["accept"] == "application/vnd.github+json"
        assert asked.headers["x-github-api-version"] == "2022-11-28"
        assert asked.headers["user-agent"].startswith("mcp-orchestrator/")

    def test_a_run_with_all_pages_of_its_jobs_at_its_own_attempt(self, server: Server, github: GitHubClient) -> None:
        server.says(f"{RUNS}/7", raw_run())
        following = {"Link": f'<{server.url}{JOBS}?per_page=100&page=2>; rel="next", <{server.url}/x>; rel="last"'}
        server.says(f"{JOBS}?per_page=100", Answer(body={"jobs": [raw_job(1), raw_job(2)]}, headers=following))
        server.says(f"{JOBS}?per_page=100&page=2", {"jobs": [raw_job(3)]})
        found = github.run("octo/demo", 7)
        assert [job.job_id for job in found.jobs] == [1, 2, 3]
        assert (found.attempt, found.repository, found.jobs[0].steps[0].name) == (2, "octo/demo", "Set up job")

    def test_a_page_on_another_server_is_not_asked_for(self, server: Server, storage: Server, github: GitHubClient) -> None:
        storage.says("/more", {"jobs": []})
        server.says(JOBS, Answer(body={"jobs": []}, headers={"Link": f'<{storage.url}/more>; rel="next"'}))
        with pytest.raises(ServiceError, match="nothing was sent"):
            github.jobs(run(attempt=2))
        assert storage.asked == []

    def test_recent_runs_are_bounded(self, server: Server, github: GitHubClient) -> None:
        following = {"Link": f'<{server.url}{RUNS}?page=2>; rel="next"'}
        server.says(f"{RUNS}?status=completed&per_page=30", Answer(body={"workflow_runs": [raw_run(n) for n in range(20)]}, headers=following))
        server.says(f"{RUNS}?page=2", {"workflow_runs": [raw_run(n) for n in range(20, 40)]})
        assert [r.run_id for r in github.runs("octo/demo", limit=30)] == [str(n) for n in range(30)]

    def test_annotations_of_a_job_that_never_started(self, server: Server, github: GitHubClient) -> None:
        server.says(JOBS, {"jobs": [raw_job(5, steps=[]), raw_job(6)]})
        server.says(f"{REPO}/check-runs/5/annotations", [{"message": "The job was not started"}, {"message": None}])
        assert [job.annotations for job in github.jobs(run(attempt=2))] == [("The job was not started", ""), ()]

    def test_without_the_right_to_annotations_the_jobs_are_there(self, server: Server, github: GitHubClient) -> None:
        server.says(JOBS, {"jobs": [raw_job(5, steps=[])]})
        server.says(f"{REPO}/check-runs/5/annotations", Answer(403, {"message": "Resource not accessible by integration"}))
        assert [job.annotations for job in github.jobs(run(attempt=2))] == [()]

    def test_a_renamed_repository_is_followed(self, server: Server, github: GitHubClient) -> None:
        server.says(REPO, Answer(301, {"message": "Moved Permanently"}, {"Location": f"{server.url}/repositories/1"}))
        server.says("/repositories/1", {"default_branch": "trunk"})
        assert github.default_branch("octo/demo") == "trunk"

    @pytest.mark.parametrize("where", ["elsewhere", "itself", ""])
    def test_but_not_to_another_server_and_not_for_ever(self, server: Server, storage: Server, github: GitHubClient, where: str) -> None:
        target = {"elsewhere": f"{storage.url}/x", "itself": REPO, "": ""}[where]
        server.says(REPO, Answer(301, {}, {"Location": target}))
        server.says("/", Answer(301, {}, {"Location": "/"}))
        storage.says("/x", {"default_branch": "evil"})
        with pytest.raises(ServiceError):
            github.default_branch("octo/demo")
        assert storage.asked == [] and len(server.asked) < 10

    def test_a_file_at_a_ref(self, server: Server, github: GitHubClient) -> None:
        import base64

        content = base64.encodebytes("a: \u00fc\n".encode()).decode()
        server.says(f"{REPO}/contents/.github/a%20b.yml?ref=main", {"type": "file", "encoding": "base64", "content": content})
        server.says(f"{REPO}/contents/d?ref=main", [{"type": "file"}])
        server.says(f"{REPO}/contents/link?ref=main", {"type": "symlink", "target": "x"})
        assert github.file("octo/demo", ".github/a b.yml", "main") == "a: \u00fc\n"
        assert [github.file("octo/demo", path, "main") for path in ("d", "link", "missing")] == [None] * 3


class TestLogs:
    def test_the_log_comes_from_storage_without_the_token(self, server: Server, storage: Server, github: GitHubClient) -> None:
        server.says(LOG, Answer(302, b"", {"Location": f"{storage.url}/log?sig=x"}))
        storage.says("/log?sig=x", Answer(body=b"line\n" * 50_000))
        blocks = github.job_log("octo/demo", 5)
        assert blocks is not None
        read = list(blocks)
        assert b"".join(read) == b"line\n" * 50_000 and max(map(len, read)) <= 65536
        assert server.asked[0].headers["authorization"] and "authorization" not in storage.asked[0].headers

    def test_a_log_of_a_renamed_repository(self, server: Server, storage: Server, github: GitHubClient) -> None:
        server.says(LOG, Answer(301, {}, {"Location": f"{server.url}/repositories/1/logs"}))
        server.says("/repositories/1/logs", Answer(302, b"", {"Location": f"{storage.url}/log"}))
        storage.says("/log", Answer(body=b"line\n"))
        assert list(github.job_log("octo/demo", 5) or ()) == [b"line\n"]
        assert len(server.asked) == 2 and "authorization" not in storage.asked[0].headers

    @pytest.mark.parametrize("status", [404, 410])
    def test_a_log_that_is_not_there_or_gone(self, server: Server, storage: Server, github: GitHubClient, status: int) -> None:
        server.says(LOG, Answer(status, {"message": "Gone"}))
        assert github.job_log("octo/demo", 5) is None
        server.says(LOG, Answer(302, b"", {"Location": f"{storage.url}/log"}))
        storage.says("/log", Answer(status, b""))
        assert list(github.job_log("octo/demo", 5) or ()) == []

    def test_storage_that_refuses_or_breaks_off_is_said(self, server: Server, storage: Server, github: GitHubClient) -> None:
        server.says(LOG, Answer(302, b"", {"Location": f"{storage.url}/log"}))
        storage.says("/log", Answer(403, b"<Error/>"), Answer(200, b"x" * 1000, cut=100))
        with pytest.raises(ServiceError, match="storage answered 403"):
            list(github.job_log("octo/demo", 5) or ())
        with pytest.raises(ServiceError, match="broke off"):
            list(github.job_log("octo/demo", 5) or ())

    @pytest.mark.parametrize("answer", [Answer(0), Answer(200, b"no gzip", {"Content-Encoding": "gzip"})], ids=["cut", "encoding"])
    def test_storage_that_says_nothing_sensible(self, server: Server, storage: Server, github: GitHubClient, answer: Answer) -> None:
        server.says(LOG, Answer(302, b"", {"Location": f"{storage.url}/log"}))
        storage.says("/log", answer)
        with pytest.raises(ServiceError, match="the log broke off"):
            list(github.job_log("octo/demo", 5) or ())

    @pytest.mark.parametrize("location", ["http://127.0.0.1:1/log", "http://[", "ftp://127.0.0.1/log", ""])
    def test_a_storage_that_is_not_there(self, server: Server, github: GitHubClient, location: str) -> None:
        server.says(LOG, Answer(302, b"", {"Location": location}))
        with pytest.raises(ServiceError, match="log"):
            list(github.job_log("octo/demo", 5) or ())

    def test_a_server_that_gives_the_log_itself(self, server: Server, github: GitHubClient) -> None:
        server.says(LOG, Answer(200, b"line\n", {"Content-Type": "text/plain"}))
        assert list(github.job_log("octo/demo", 5) or ()) == [b"line\n"]


Call = Callable[[GitHubClient], object]
DENIED = "Resource not accessible by integration"
CALLS: list[tuple[str, Call, str]] = [
    (REPO, lambda g: g.default_branch("octo/demo"), "metadata: read"),
    (f"{RUNS}/7", lambda g: g.run("octo/demo", 7), "actions: read"),
    (RUNS, lambda g: g.runs("octo/demo"), "actions: read"),
    (LOG, lambda g: g.job_log("octo/demo", 5), "actions: read"),
    (f"{RUNS}/7/rerun-failed-jobs", lambda g: g.rerun_failed_jobs("octo/demo", 7), "actions: write"),
    (f"{REPO}/contents/a?ref=main", lambda g: g.file("octo/demo", "a", "main"), "contents: read"),
    (f"{REPO}/pulls", lambda g: g.pull_requests("octo/demo", head="octo:b"), "pull-requests: read"),
    (f"{REPO}/pulls", lambda g: g.open_pull_request("octo/demo", title="t", body="b", head="h", base="m"), "pull-requests: write"),
    (f"{REPO}/issues", lambda g: g.open_issue("octo/demo", title="t", body="b", labels=[]), "issues: write"),
]


class TestRefusals:
    @pytest.mark.parametrize(("path", "call", "needs"), CALLS, ids=[f"{path.rsplit('/', 1)[-1]}-{needs}" for path, _, needs in CALLS])
    def test_a_missing_permission_is_named(self, server: Server, github: GitHubClient, path: str, call: Call, needs: str) -> None:
        server.says(path, Answer(403, {"message": DENIED}))
        with pytest.raises(AccessDenied) as refused:
            call(github)
        assert f"lacks the permission `{needs}`" in str(refused.value) and "\n" not in str(refused.value)
        assert refused.value.status == 403 and len(server.asked) == 1

    def test_github_knows_best_which_one(self, server: Server, github: GitHubClient) -> None:
        server.says(REPO, Answer(403, {"message": DENIED}, {"X-Accepted-GitHub-Permissions": "contents=write"}))
        with pytest.raises(AccessDenied, match="`contents: write`"):
            github.default_branch("octo/demo")

    def test_a_token_that_is_not_valid(self, server: Server, github: GitHubClient) -> None:
        server.says(REPO, Answer(401, {"message": "Bad credentials"}))
        with pytest.raises(AccessDenied, match="Bad credentials; the token is not valid"):
            github.default_branch("octo/demo")
        assert TOKEN not in repr(server.answers)

    def test_the_setting_that_forbids_pull_requests_is_named(self, server: Server, github: GitHubClient) -> None:
        server.says(f"{REPO}/pulls", Answer(403, {"message": "GitHub Actions is not permitted to create or approve pull requests."}))
        with pytest.raises(AccessDenied, match="Settings > Actions > General"):
            github.open_pull_request("octo/demo", title="t", body="b", head="h", base="m")

    @pytest.mark.parametrize("status", [404, 410])
    def test_what_is_not_there_may_be_hidden(self, server: Server, github: GitHubClient, status: int) -> None:
        server.says(REPO, Answer(status, {"message": "Not Found"}))
        with pytest.raises(NotFound, match="lacks `metadata: read`"):
            github.default_branch("octo/demo")

    @pytest.mark.parametrize("body", [{"message": "Validation Failed", "errors": [{"message": "A pull request already exists"}]},
                                      {"message": "Validation Failed", "errors": ["A pull request already exists"]}])  # fmt: skip
    def test_a_conflict_with_its_details(self, server: Server, github: GitHubClient, body: Any) -> None:
        server.says(f"{REPO}/pulls", Answer(422, body))
        with pytest.raises(Conflict, match="Validation Failed: A pull request already exists"):
            github.open_pull_request("octo/demo", title="t", body="b", head="h", base="m")

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 451])
    @pytest.mark.parametrize("body", [b"<html>\n<h1>Proxy</h1>\n</html>", b"", b"[]", b"null", b'"x"'], ids=["html", "empty", "list", "null", "text"])
    def test_any_body_makes_one_line(self, server: Server, github: GitHubClient, status: int, body: bytes) -> None:
        server.says(f"{REPO}/pulls", Answer(status, body))
        with pytest.raises(ServiceError) as refused:
            github.open_pull_request("octo/demo", title="t", body="b", head="h", base="m")
        assert "\n" not in str(refused.value) and str(status) in str(refused.value)

    @pytest.mark.parametrize("body", [b"<html>a captive portal</html>", b"", b"[]", b"{}", b'"x"', b"null"])
    def test_an_answer_that_is_not_githubs(self, server: Server, github: GitHubClient, body: bytes) -> None:
        server.says(REPO, Answer(200, body, {"Content-Type": "text/html"}))
        with pytest.raises(ServiceError, match="not GitHub's"):
            github.default_branch("octo/demo")

    def test_the_rate_limit_is_not_a_missing_permission(self, server: Server, github: GitHubClient) -> None:
        used_up = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795348800"}
        secondary = {"message": "You have exceeded a secondary rate limit"}
        server.says(REPO, Answer(403, {"message": "API rate limit exceeded"}, used_up), Answer(403, secondary, {"Retry-After": "3600"}), Answer(403, secondary))
        for said in ("used up until 12:00 UTC", "wants fewer requests", "wants fewer requests"):
            with pytest.raises(ServiceError, match=said) as refused:
                github.default_branch("octo/demo")
            assert not isinstance(refused.value, AccessDenied)


class TestRetries:
    @pytest.mark.usefixtures("no_waits")
    @pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 0])
    def test_a_read_is_tried_again(self, server: Server, github: GitHubClient, status: int) -> None:
        server.says(REPO, Answer(status, {}, {"Retry-After": "0"}), {"default_branch": "main"})
        assert github.default_branch("octo/demo") == "main"
        assert len(server.asked) == 2

    @pytest.mark.usefixtures("no_waits")
    @pytest.mark.parametrize("status", [503, 0])
    def test_but_not_for_ever(self, server: Server, github: GitHubClient, status: int) -> None:
        server.says(REPO, Answer(status, {}))
        with pytest.raises(ServiceError, match="did not recover in 4 tries"):
            github.default_branch("octo/demo")
        assert len(server.asked) == 4

    def test_a_wait_longer_than_a_job_should_take_is_not_waited_for(self, server: Server, github: GitHubClient) -> None:
        server.says(REPO, Answer(429, {"message": "Slow down"}, {"Retry-After": "3600"}))
        with pytest.raises(ServiceError, match="wants fewer requests"):
            github.default_branch("octo/demo")
        assert len(server.asked) == 1

    def test_a_wait_that_github_asks_for_is_kept(self, server: Server, github: GitHubClient) -> None:
        import time

        server.says(REPO, Answer(403, {"message": "secondary rate limit"}, {"Retry-After": "2"}), {"default_branch": "main"})
        started = time.monotonic()
        assert github.default_branch("octo/demo") == "main"
        assert time.monotonic() - started >= 1.9

    @pytest.mark.parametrize("status", [429, 500, 502, 503, 0])
    def test_a_write_is_never_tried_again(self, server: Server, github: GitHubClient, status: int) -> None:
        """Its answer may be lost although it was done."""
        path = f"{RUNS}/7/rerun-failed-jobs"
        server.says(path, Answer(status, {}))
        with pytest.raises(ServiceError, match={0: "no answer", 429: "wants fewer requests"}.get(status, f"GitHub answered {status}")):
            github.rerun_failed_jobs("octo/demo", 7)
        assert len(server.asked) == 1

    def test_a_server_that_is_not_there(self) -> None:
        client = GitHubClient("http://127.0.0.1:1", TOKEN)
        with pytest.raises(ServiceError) as refused:
            client.rerun_failed_jobs("octo/demo", 7)
        client.close()
        assert "no answer" in str(refused.value) and TOKEN not in str(refused.value)


class TestWriting:
    def test_a_write_is_not_sent_on_to_where_a_repository_moved(self, server: Server, github: GitHubClient) -> None:
        server.says(f"{REPO}/pulls", Answer(307, {"message": "Moved"}, {"Location": f"{server.url}/repositories/1/pulls"}))
        with pytest.raises(ServiceError, match="redirect"):
            github.open_pull_request("octo/demo", title="t", body="b", head="h", base="m")
        assert len(server.asked) == 1

    def test_a_pull_request(self, server: Server, github: GitHubClient) -> None:
        raw = {"number": 3, "html_url": "u", "head": {"ref": "h"}, "base": {"ref": "m"}, "state": "open", "body": None}
        server.says(f"{REPO}/pulls", Answer(201, raw))
        opened = github.open_pull_request("octo/demo", title="t", body="b", head="h", base="m")
        assert (opened.number, opened.url, opened.head, opened.base, opened.body) == (3, "u", "h", "m", "")
        assert json.loads(server.asked[0].body) == {"title": "t", "body": "b", "head": "h", "base": "m", "maintainer_can_modify": True}

    def test_known_pull_requests_of_one_branch(self, server: Server, github: GitHubClient) -> None:
        raw = {"number": 3, "html_url": "u", "head": {"ref": "b&c"}, "base": {"ref": "m"}, "state": "closed"}
        server.says(f"{REPO}/pulls?state=all&head=octo%3Ab%26c&per_page=100", [raw])
        assert [p.state for p in github.pull_requests("octo/demo", head="octo:b&c", state="all")] == ["closed"]

    def test_a_rerun(self, server: Server, github: GitHubClient) -> None:
        server.says(f"{RUNS}/7/rerun-failed-jobs", Answer(201, {}))
        github.rerun_failed_jobs("octo/demo", 7)
        assert [(a.method, json.loads(a.body)) for a in server.asked] == [("POST", {})]

    def test_without_a_token_none_is_sent(self, server: Server) -> None:
        server.says(REPO, {"default_branch": "main"})
        client = GitHubClient(server.url, "")
        client.default_branch("octo/demo")
        client.close()
        assert "authorization" not in server.asked[0].headers
