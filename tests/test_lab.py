"""Tests of the lab itself: what the other tests lean on behaves as GitHub does."""

from __future__ import annotations

import io
import json
import re
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from lab import Lab, lab_or_skip, store
from lab.model import Repository, Token

pytestmark = pytest.mark.lab

CI = """\
name: CI
on: [push, pull_request]
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - name: Run the program
        run: python3 app.py
  other:
    runs-on: ubuntu-latest
    steps:
      - run: echo fine
  after:
    needs: build
    runs-on: ubuntu-latest
    steps:
      - run: echo after
"""
FILES = {".github/workflows/ci.yml": CI, "app.py": "import nowhere_to_be_found\n"}
WRITE = {"contents": "write", "actions": "write", "pull-requests": "write", "issues": "write", "checks": "read"}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with lab_or_skip(tmp_path) as one:
        yield one


@pytest.fixture
def repo(lab: Lab) -> Repository:
    return lab.repository("octo/demo", FILES)


def client(lab: Lab, token: Token | None) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=lab.api_url, headers=headers, trust_env=False)


def workflow(steps: str, on: str = "push", name: str = "W", extra: str = "") -> str:
    lines = "\n".join(f"      {line}" for line in steps.splitlines())
    return f"name: {name}\non: {on}\njobs:\n  job:\n    runs-on: ubuntu-latest\n{extra}    steps:\n{lines}\n"


def test_red_run_has_jobs_steps_and_logs_in_the_runners_format(lab: Lab, repo: Repository) -> None:
    run = lab.push(repo, {"README.md": "hello\n"})
    assert run and run.status == "queued"
    assert lab.settle() == [run]
    assert run.conclusion == "failure"
    assert {job.key: job.conclusion for job in run.jobs} == {"build": "failure", "other": "success", "after": "skipped"}
    steps = run.job("build").steps
    assert [(step.number, step.name, step.conclusion) for step in steps] == [
        (1, "Set up job", "success"),
        (2, "Run actions/checkout@v4", "success"),
        (3, "Run the program", "failure"),
        (5, "Post Run actions/checkout@v4", "success"),
        (6, "Complete job", "success"),
    ]
    text = lab.record(run).decode()
    assert text.startswith("\ufeff")
    lines = text.removeprefix("\ufeff").splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z ", line) for line in lines)
    said = [line.split(" ", 1)[1] for line in lines]
    assert "##[group]Run python3 app.py" in said and "\x1b[36;1mpython3 app.py\x1b[0m" in said
    assert "ModuleNotFoundError: No module named 'nowhere_to_be_found'" in said
    assert '  File "/home/runner/work/demo/demo/app.py", line 1, in <module>' in said
    assert "##[error]Process completed with exit code 1." in said
    assert str(lab.directory) not in text
    names = zipfile.ZipFile(io.BytesIO(lab.archive(run))).namelist()
    assert {"0_build.txt", "build/1_Set up job.txt", "build/2_Run actionscheckout@v4.txt", "build/system.txt"} <= set(
        names
    )
    lab.event(run)  # held against GitHub's webhook schema


def test_logs_are_a_redirect_to_a_host_that_refuses_the_token(lab: Lab, repo: Repository) -> None:
    run = lab.push(repo, {"x": "1"})
    assert run
    token = lab.token(repo, {"actions": "read"})
    with client(lab, token) as api:
        address = "/repos/octo/demo/actions/jobs/{}/logs"
        assert api.get(f"/repos/octo/demo/actions/runs/{run.id}/logs").status_code == 404  # still queued
        lab.settle()
        answer = api.get(address.format(run.job("build").id))
        assert answer.status_code == 302
        target = answer.headers["Location"]
        assert httpx.get(target, headers={"Authorization": f"Bearer {token}"}, trust_env=False).status_code == 403
        assert httpx.get(target, trust_env=False).content == lab.record(run, "build")
        assert api.get(address.format(run.job("after").id)).status_code == 404  # skipped: never had a log
        archive = api.get(f"/repos/octo/demo/actions/runs/{run.id}/attempts/1/logs")
        assert (
            zipfile.ZipFile(io.BytesIO(httpx.get(archive.headers["Location"], trust_env=False).content)).testzip()
            is None
        )
        run.logs_expired = True
        assert api.get(address.format(run.job("build").id)).status_code == 410


def test_tokens_may_do_what_their_permissions_say(lab: Lab, repo: Repository) -> None:
    secret = lab.repository("octo/secret", {"a": "b"}, private=True)
    weak = lab.token(repo, {"contents": "read"}, kind="actions")
    with client(lab, weak) as api:
        refused = api.get("/repos/octo/demo/actions/runs")
        assert (refused.status_code, refused.json()["message"]) == (403, "Resource not accessible by integration")
        assert refused.headers["X-Accepted-GitHub-Permissions"] == "actions=read"
        assert api.get(f"/repos/{secret.full_name}").status_code == 404
        first = api.get("/repos/octo/demo")
        assert first.headers["X-RateLimit-Limit"] == "1000" and first.headers["X-GitHub-Request-Id"]
        assert api.get("/repos/octo/demo", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
        weak.expired = True
        assert api.get("/repos/octo/demo").json()["message"] == "Bad credentials"
    with client(lab, None) as api:
        assert api.get("/repos/octo/demo").status_code == 200
    busy = lab.token(repo, {"actions": "read"})
    busy.used = busy.limit
    lab.fault("GET", "/actions/runs$", 503, times=1)
    with client(lab, busy) as api:
        assert api.get("/repos/octo/demo/actions/runs").status_code == 503
        limited = api.get("/repos/octo/demo/actions/runs")
        assert limited.status_code == 403 and limited.headers["X-RateLimit-Remaining"] == "0"


def clone(lab: Lab, repo: Repository, token: Token, directory: Path) -> Path:
    url = lab.server_url.replace("://", f"://x-access-token:{token}@") + f"/{repo.full_name}"
    store.git(directory.parent, "clone", "--quiet", url, str(directory))
    return directory


def push(directory: Path, name: str, text: str, branch: str) -> subprocess.CompletedProcess[str]:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    store.git(directory, "add", "--all")
    store.git(directory, "commit", "--quiet", "-m", "change")
    return subprocess.run(
        ["git", "push", "origin", f"HEAD:{branch}"],
        cwd=directory,
        env=store.environment(),
        check=False,
        capture_output=True,
        text=True,
    )


def test_pushes_are_refused_in_githubs_words(lab: Lab, tmp_path: Path) -> None:
    rules = {
        "release": [
            {
                "type": "pull_request",
                "parameters": {
                    "dismiss_stale_reviews_on_push": False,
                    "require_code_owner_review": False,
                    "require_last_push_approval": False,
                    "required_approving_review_count": 1,
                    "required_review_thread_resolution": False,
                },
            }
        ]
    }
    repo = lab.repository("octo/demo", FILES, protected=("main",), rulesets=rules)
    token = lab.token(repo, {"contents": "write"}, kind="actions")
    work = clone(lab, repo, token, tmp_path / "clone")
    protected = push(work, "a", "1", "main").stderr
    assert "remote: error: GH006: Protected branch update failed for refs/heads/main." in protected
    assert "! [remote rejected] HEAD -> main (protected branch hook declined)" in protected
    ruled = push(work, "a", "2", "release").stderr
    assert "remote: error: GH013: Repository rule violations found for refs/heads/release." in ruled
    assert "(push declined due to repository rule violations)" in ruled
    done = push(work, "a", "3", "fix")
    assert done.returncode == 0, done.stderr
    assert lab.runs(repo) == []  # GITHUB_TOKEN starts no run
    refused = push(work, ".github/workflows/ci.yml", CI + "# x\n", "wf").stderr
    words = "refusing to allow a GitHub App to create or update workflow `.github/workflows/ci.yml` without `workflows` permission"
    assert f"! [remote rejected] HEAD -> wf ({words})" in refused
    reader = clone(lab, repo, lab.token(repo, {"contents": "read"}, kind="actions"), tmp_path / "reader")
    assert "denied to github-actions[bot]" in push(reader, "a", "4", "fix2").stderr
    app = clone(lab, repo, lab.token(repo, {"contents": "write", "workflows": "write"}), tmp_path / "app")
    assert push(app, ".github/workflows/ci.yml", CI + "# y\n", "wf").returncode == 0
    assert [run.head_branch for run in lab.runs(repo)] == ["wf"]
    with client(lab, token) as api:
        found = api.get("/repos/octo/demo/rules/branches/release").json()
    assert [rule["type"] for rule in found] == ["pull_request"]


def test_pull_requests_of_the_workflow_token_wait_for_approval(lab: Lab, repo: Repository) -> None:
    lab.push(repo, {"app.py": "print(1)\n"}, branch="fix")
    lab.settle()
    token = lab.token(repo, WRITE, kind="actions")
    body = {"title": "Mend", "head": "fix", "base": "main", "body": "text"}
    with client(lab, token) as api:
        created = api.post("/repos/octo/demo/pulls", json=body)
        assert created.status_code == 201, created.text
        again = api.post("/repos/octo/demo/pulls", json=body)
        assert again.json()["errors"][0]["message"] == "A pull request already exists for octo:fix."
        assert api.post("/repos/octo/demo/pulls", json={**body, "head": "nowhere"}).status_code == 422
        held = lab.runs(repo)[0]
        assert (held.event, held.conclusion) == ("pull_request", "action_required")
        assert lab.settle() == []
        assert api.post(f"/repos/octo/demo/actions/runs/{held.id}/approve").status_code == 201
        assert lab.settle() == [held] and held.conclusion == "success"
        listed = api.get("/repos/octo/demo/pulls", params={"head": "octo:fix", "state": "open"}).json()
        assert [one["number"] for one in listed] == [1]
        closed = api.patch("/repos/octo/demo/pulls/1", json={"state": "closed"})
        assert closed.json()["state"] == "closed"
        repo.allow_actions_to_create_pull_requests = False
        refused = api.post("/repos/octo/demo/pulls", json=body)
        assert refused.status_code == 403
        assert refused.json()["message"] == "GitHub Actions is not permitted to create or approve pull requests."


def test_rerun_of_failed_jobs_is_a_new_attempt_of_the_same_run(lab: Lab) -> None:
    lab.registry.wheel("flaky-thing", "1.0", {"flaky_thing.py": "VALUE = 1\n"})
    steps = f"- run: python3 -m pip install --retries 1 --index-url {lab.registry.index_url} flaky-thing"
    other = "  other:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo fine\n"
    repo = lab.repository("octo/demo", {".github/workflows/ci.yml": workflow(steps) + other})
    lab.registry.fail_next(2, path="/files/")
    run = lab.push(repo, {"x": "1"})
    lab.settle()
    assert run and run.conclusion == "failure", run and run.report
    assert "too many 503 error responses" in lab.record(run, "job").decode()
    kept = run.job("other").id
    with client(lab, lab.token(repo, {"actions": "write"})) as api:
        path = f"/repos/octo/demo/actions/runs/{run.id}"
        assert api.post(f"{path}/rerun-failed-jobs", json={"enable_debug_logging": False}).status_code == 201
        assert api.post(f"{path}/rerun-failed-jobs").status_code == 403  # not completed
        assert lab.settle() == [run]
        shape = api.get(path).json()
        assert (shape["run_attempt"], shape["conclusion"]) == (2, "success"), lab.record(run, "job").decode()
        assert api.get(f"{path}/attempts/1").json()["conclusion"] == "failure"
        assert run.job("other").id == kept


def test_lists_are_paged_with_links(lab: Lab, repo: Repository) -> None:
    token = lab.token(repo, WRITE)
    with client(lab, token) as api:
        for number in range(5):
            assert api.post("/repos/octo/demo/issues", json={"title": f"n{number}", "labels": ["l"]}).status_code == 201
        titles, address = [], "/repos/octo/demo/issues?labels=l&per_page=2"
        while address:
            answer = api.get(address)
            titles += [issue["title"] for issue in answer.json()]
            address = answer.links.get("next", {}).get("url", "")
        assert titles == ["n4", "n3", "n2", "n1", "n0"]
        comment = api.post("/repos/octo/demo/issues/1/comments", json={"body": "hi"}).json()
        assert (
            api.patch(f"/repos/octo/demo/issues/comments/{comment['id']}", json={"body": "ho"}).json()["body"] == "ho"
        )
        tip = lab.branches(repo)["main"]
        assert api.post(f"/repos/octo/demo/commits/{tip}/comments", json={"body": "note"}).status_code == 201
        found = api.get("/repos/octo/demo/contents/.github/workflows/ci.yml", params={"ref": "main"})
        assert found.json()["type"] == "file"
        assert api.get("/repos/octo/demo/git/ref/heads/main").json()["object"]["sha"] == tip
        assert api.get("/repos/octo/demo/collaborators/octocat/permission").json()["permission"] == "admin"


@pytest.mark.parametrize(
    ("steps", "extra", "words"),
    [
        (
            "- uses: actions/upload-artifact@v3",
            "",
            "deprecated version of `actions/upload-artifact: v3`. Learn more: https://github.blog/changelog/2024-04-16",
        ),
        ("- uses: nobody/nothing@v1", "", "Unable to resolve action nobody/nothing, repository not found"),
        ("- run: echo", "    RETIRED", "The macOS-13 based runner images are now retired."),
    ],
)
def test_the_service_refuses_before_a_runner_starts(lab: Lab, steps: str, extra: str, words: str) -> None:
    text = workflow(steps)
    if extra:
        text = text.replace("ubuntu-latest", "macos-13")
    repo = lab.repository("octo/demo", {".github/workflows/w.yml": text})
    run = lab.push(repo, {"x": "1"})
    lab.settle()
    assert run and run.conclusion == "failure"
    job = run.jobs[0]
    assert words in job.annotations[0].message
    assert job.has_log is job.has_runner is (not extra)
    if job.has_log:
        assert f"##[error]{job.annotations[0].message}" in lab.record(run).decode()
    with client(lab, lab.token(repo, {"checks": "read", "actions": "read"})) as api:
        assert words in api.get(f"/repos/octo/demo/check-runs/{job.id}/annotations").json()[0]["message"]
        assert (api.get(f"/repos/octo/demo/actions/jobs/{job.id}").json()["runner_id"] == 0) is bool(extra)


def test_a_file_that_is_no_workflow_is_a_startup_failure_without_jobs(lab: Lab) -> None:
    good = workflow("- run: echo")
    repo = lab.repository("octo/demo", {".github/workflows/w.yml": good.replace("runs-on", "runz-on")})
    bad_key = lab.push(repo, {"x": "1"})
    bad_yaml = lab.push(repo, {".github/workflows/w.yml": good + "\t- no: [\n"})
    lab.settle()
    for run in (bad_key, bad_yaml):
        assert run and run.conclusion == "startup_failure" and run.jobs == [] and run.problem
    assert bad_yaml and bad_yaml.name == ".github/workflows/w.yml"


def test_workflow_run_follows_with_a_token_of_its_own(lab: Lab) -> None:
    follower = """\
name: Follow
on:
  workflow_run:
    workflows: [CI]
    types: [completed]
permissions:
  actions: read
jobs:
  look:
    if: github.event.workflow_run.conclusion == 'failure'
    runs-on: ubuntu-latest
    steps:
      - env:
          TOKEN: ${{ github.token }}
          ID: ${{ github.event.workflow_run.id }}
          KEY: ${{ secrets.KEY }}
        run: |
          test "$KEY" = "$(printf a-b)"
          curl -sS -o /dev/null -w '%{http_code}\\n' -H "Authorization: Bearer $TOKEN" "$GITHUB_API_URL/repos/$GITHUB_REPOSITORY/actions/runs/$ID"
          curl -sS -o /dev/null -w '%{http_code}\\n' -H "Authorization: Bearer $TOKEN" -d '{"title":"x"}' "$GITHUB_API_URL/repos/$GITHUB_REPOSITORY/issues"
          echo "$GITHUB_REF $GITHUB_RUN_ID $GITHUB_EVENT_NAME token $TOKEN"
"""
    repo = lab.repository("octo/demo", {**FILES, ".github/workflows/follow.yml": follower})
    lab.secret(repo, "KEY", "a-b")
    run = lab.push(repo, {"x": "1"}, branch="topic")
    done = lab.settle()
    assert run and [one.name for one in done] == ["CI", "Follow"]
    second = done[1]
    text = lab.record(second, "look").decode()
    assert second.conclusion == "success", text
    said = [line.split(" ", 1)[1] for line in text.splitlines()]
    assert said.index("200") < said.index("403")
    assert f"refs/heads/main {second.id} workflow_run token ***" in said
    assert second.head_sha == lab.branches(repo)["main"] and second.payload["workflow_run"]["id"] == run.id
    asked = [one for one in lab.requests if one.token == "actions"]
    assert [(one.method, one.status) for one in asked] == [("GET", 200), ("POST", 403)]
    with client(lab, lab.token(repo, {"actions": "write"})) as api:
        assert (
            api.post("/repos/octo/demo/actions/workflows/follow.yml/dispatches", json={"ref": "main"}).status_code
            == 422
        )


def test_dispatch_schedule_and_a_checkout_of_another_ref(lab: Lab) -> None:
    on = "{workflow_dispatch: {inputs: {word: {default: none}}}, schedule: [{cron: '0 4 * * *'}]}"
    steps = (
        "- uses: actions/checkout@v7\n  with: {ref: topic, path: sub}\n- run: cat sub/word.txt; echo ${{ inputs.word }}"
    )
    repo = lab.repository("octo/demo", {".github/workflows/w.yml": workflow(steps, on=on), "word.txt": "main\n"})
    assert lab.push(repo, {"word.txt": "topical\n"}, branch="topic") is None
    body = {"ref": "main", "inputs": {"word": "hello"}, "return_run_details": True}
    with client(lab, lab.token(repo, {"actions": "write"})) as api:
        answer = api.post("/repos/octo/demo/actions/workflows/w.yml/dispatches", json=body)
        assert answer.status_code == 200
    by_clock = lab.schedule(repo, "w.yml")
    by_hand, second = lab.settle()
    assert second is by_clock and by_hand.id == answer.json()["workflow_run_id"]
    assert by_hand.conclusion == second.conclusion == "success", lab.record(by_hand).decode()
    said = lab.record(by_hand).decode()
    assert re.search(r"Z topical$", said, re.MULTILINE) and re.search(r"Z hello$", said, re.MULTILINE)


def test_a_forks_run_is_read_only_and_names_no_pull_request(lab: Lab, repo: Repository) -> None:
    fork = lab.fork(repo, "eve")
    lab.push(fork, {"app.py": "print('from the fork')\n"}, branch="main")
    lab.pull_request(repo, "eve:main")
    (run,) = lab.settle()
    assert run.conclusion == "success", run.report
    shape = lab.event(run)["workflow_run"]
    assert shape["head_repository"]["id"] != shape["repository"]["id"] and shape["pull_requests"] == []
    assert (shape["head_branch"], shape["event"]) == ("main", "pull_request")


def test_gh_reads_the_lab(lab: Lab, repo: Repository) -> None:
    run = lab.push(repo, {"x": "1"})
    lab.settle()
    assert run
    try:
        listed = lab.gh("run", "list", repo=repo)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert listed.returncode == 0 and "CI" in listed.stdout and "failure" in listed.stdout, listed.stderr
    viewed = lab.gh("run", "view", str(run.id), "--log-failed", repo=repo)
    assert viewed.returncode == 0, viewed.stderr
    assert "build\tRun the program\t" in viewed.stdout and "ModuleNotFoundError" in viewed.stdout
    assert "echo fine" not in viewed.stdout
    summary = lab.gh("run", "view", str(run.id), repo=repo)
    assert "Process completed with exit code 1." in summary.stdout, summary.stderr
    again = lab.gh("run", "rerun", str(run.id), "--failed", repo=repo)
    assert again.returncode == 0, again.stderr
    assert run.attempt == 2 and run.status == "queued"


def test_what_disagrees_with_githubs_document_is_reported(tmp_path: Path) -> None:
    with lab_or_skip(tmp_path) as lab:
        repo = lab.repository("octo/demo", {"a": "b"})

        def alter(path: str, body: object) -> object:
            if path.endswith("/octo/demo"):
                changed = json.loads(json.dumps(body))
                del changed["default_branch"]
                changed["id"] = "seven"
                return changed
            return body

        lab.alter = alter
        with client(lab, lab.token(repo, WRITE)) as api:
            api.get("/repos/octo/demo")
            api.get("/repos/octo/demo/actions/runs", params={"status": "startup_failure"})
            api.get("/repos/octo/demo/actions/runs", params={"colour": "red"})
            api.post("/repos/octo/demo/issues", json={"body": "no title"})
            api.get("/repos/octo/demo/no/such/thing")
        found = "\n".join(lab.contract.violations)
        assert '"default_branch" is a required property' in found and "id:" in found
        assert "startup_failure" in found and "unknown parameter 'colour'" in found
        assert "request (root)" in found and "no/such/thing" in found
        with pytest.raises(AssertionError, match="do not agree"):
            lab.close()
        lab.contract.violations.clear()


HEAL = """\
name: Heal
on:
  workflow_run:
    workflows: [CI]
    types: [completed]
permissions: {}
jobs:
  heal:
    if: github.event.workflow_run.conclusion == 'failure'
    runs-on: ubuntu-latest
    permissions: {actions: write, checks: read, contents: write, pull-requests: write, issues: write}
    steps:
      - id: heal
        uses: mcp-orchestrator/mcp-orchestrator@v1
      - run: echo "status=${{ steps.heal.outputs.status }}"
"""


def heal_a_red_run(lab: Lab) -> None:
    repo = lab.repository("octo/demo", {**FILES, ".github/workflows/heal.yml": HEAL})
    lab.push(repo, {"x": "1"})
    red, heal = lab.settle()[:2]
    assert (red.conclusion, heal.conclusion) == ("failure", "success"), heal.report
    said = lab.record(heal, "heal").decode()
    assert "##[group]Run mcp-orchestrator/mcp-orchestrator@v1" in said
    assert re.search(r" status=\w+$", said, re.MULTILINE)
    asked = [(one.method, one.path, one.status) for one in lab.requests if one.token == "actions"]
    assert ("GET", f"/repos/octo/demo/actions/jobs/{red.job('build').id}/logs", 302) in asked


def test_our_action_runs_on_a_red_run(lab: Lab) -> None:
    heal_a_red_run(lab)


@pytest.mark.container
def test_our_action_runs_in_its_container(tmp_path: Path) -> None:
    from lab import engine

    found = engine.start()
    if found is None:
        pytest.skip("no Docker engine")
    with lab_or_skip(tmp_path, engine=found) as lab:
        heal_a_red_run(lab)
