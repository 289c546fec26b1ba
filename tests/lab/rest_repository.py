"""The REST operations of a repository: contents, refs, pull requests, issues, labels, comments."""

from __future__ import annotations

import time

from . import store
from .model import Comment, Issue, PullRequest, new_id, now
from .service import Answer, Call, Refusal, invalid, not_found, route

_ISSUES = "issues|pull_requests"  # a pull request's conversation is open to either permission


@route("GET", "/repos/{owner}/{repo}", "metadata:read")
def get_repository(call: Call) -> Answer:
    return Answer(200, call.shapes.repository(call.repository, full=True))


@route("GET", "/user", "metadata:read")
def get_user(call: Call) -> Answer:
    if call.token.kind != "pat":
        raise Refusal(403, "Resource not accessible by integration")
    return Answer(200, call.shapes.authenticated_user(call.token))


@route("GET", "/rate_limit", None)
def rate_limit(call: Call) -> Answer:
    limit, used = (call.token.limit, call.token.used) if call.token else (60, 0)
    rate = {"limit": limit, "used": used, "remaining": max(0, limit - used), "reset": int(time.time()) + 3600}
    return Answer(200, {"resources": {"core": rate, "search": {**rate, "limit": 30}}, "rate": rate})


def _resolve(call: Call, ref: str | None) -> tuple[str, str]:
    name = ref or call.repository.default_branch
    commit = store.resolve(call.repository.git, name.removeprefix("refs/heads/"))
    if commit is None:
        raise Refusal(404, f"No commit found for the ref {name}")
    return name, commit


@route("GET", "R/contents/{path}", "contents:read")
def contents(call: Call) -> Answer:
    repo, path = call.repository, call.parameters["path"].strip("/")
    ref, commit = _resolve(call, call.query.get("ref"))
    parent = path.rsplit("/", 1)[0] if "/" in path else ""
    entry = next((item for item in store.tree(repo.git, commit, parent) if item[3] == path), None)
    if entry is None:
        raise not_found()
    if entry[1] == "tree":
        return Answer(200, [call.shapes.content(repo, ref, item, None) for item in store.tree(repo.git, commit, path)])
    return Answer(200, call.shapes.content(repo, ref, entry, store.blob(repo.git, commit, path)))


@route("GET", "R/git/ref/{ref}", "contents:read")
def get_ref(call: Call) -> Answer:
    repo, ref = call.repository, f"refs/{call.parameters['ref']}"
    sha = store.refs(repo.git).get(ref)
    if sha is None:
        raise not_found()
    kind = store.git(repo.git, "cat-file", "-t", sha)
    root = f"{call.shapes.api}/repos/{repo.full_name}/git"
    return Answer(
        200,
        {
            "ref": ref,
            "node_id": f"ref-{repo.id}-{ref}",
            "url": f"{root}/{ref}",
            "object": {"sha": sha, "type": kind, "url": f"{root}/{kind}s/{sha}"},
        },
    )


@route("GET", "R/rules/branches/{branch}", "metadata:read")
def branch_rules(call: Call) -> Answer:
    source = {"ruleset_source_type": "Repository", "ruleset_source": call.repository.full_name, "ruleset_id": 42}
    rules = call.repository.rulesets.get(call.parameters["branch"], [])
    return call.page(rules, lambda rule: {**rule, **source})


@route("GET", "R/collaborators/{username}/permission", "metadata:read")
def permission(call: Call) -> Answer:
    login = call.parameters["username"]
    level = call.repository.collaborators.get(login, "none" if call.repository.private else "read")
    return Answer(
        200, {"permission": level, "role_name": level, "user": {**call.shapes.user(login), "role_name": level}}
    )


# --- pull requests


def _pull(call: Call) -> PullRequest:
    issue = call.repository.issues.get(call.number("pull_number"))
    if issue is None or issue.pull is None:
        raise not_found()
    return issue.pull


@route("GET", "R/pulls", "pull_requests:read")
def list_pulls(call: Call) -> Answer:
    query = call.query
    state = query.get("state", "open")
    head = query.get("head", "")
    chosen = [
        pull
        for pull in call.repository.pulls()
        if state in ("all", pull.state)
        and query.get("base", pull.base) == pull.base
        # GitHub ignores a head filter that names no owner.
        and (":" not in head or head == f"{pull.head_repository.owner}:{pull.head}")
    ]
    ascending = query.get("direction", "desc") == "asc"
    chosen.sort(key=lambda pull: pull.number, reverse=not ascending)
    return call.page(chosen, lambda pull: call.shapes.pull(call.repository, pull))


@route("POST", "R/pulls", "pull_requests:write")
def create_pull(call: Call) -> Answer:
    repo, body = call.repository, call.body
    if call.token.kind == "actions" and not repo.allow_actions_to_create_pull_requests:
        raise Refusal(
            403,
            "GitHub Actions is not permitted to create or approve pull requests.",
            docs="https://docs.github.com/rest/pulls/pulls#create-a-pull-request",
        )
    owner, _, head = str(body.get("head", "")).rpartition(":")
    base = str(body.get("base", ""))
    source = repo if owner in ("", repo.owner) else call.lab.find_repository(f"{owner}/{repo.name}")
    if source is None or f"refs/heads/{head}" not in store.refs(source.git):
        raise invalid("PullRequest", field="head", code="invalid")
    if f"refs/heads/{base}" not in store.refs(repo.git):
        raise invalid("PullRequest", field="base", code="invalid")
    for pull in repo.pulls():
        if pull.state == "open" and (pull.head, pull.head_repository, pull.base) == (head, source, base):
            label = f"{source.owner}:{head}"
            raise invalid("PullRequest", code="custom", message=f"A pull request already exists for {label}.")
    tips = store.refs(source.git)
    if store.git(repo.git, "rev-list", "--count", f"{base}..{tips[f'refs/heads/{head}']}", check=False) == "0":
        raise invalid("PullRequest", code="custom", message=f"No commits between {base} and {head}")
    pull = call.lab.create_pull(
        repo,
        head=head,
        base=base,
        title=str(body.get("title") or head),
        body=body.get("body"),
        source=source,
        login=call.token.login,
        kind=call.token.kind,
        draft=bool(body.get("draft")),
    )
    shape = call.shapes.pull(repo, pull, full=True)
    return Answer(201, shape, {"Location": shape["url"]})


@route("GET", "R/pulls/{pull_number}", "pull_requests:read")
def get_pull(call: Call) -> Answer:
    return Answer(200, call.shapes.pull(call.repository, _pull(call), full=True))


@route("PATCH", "R/pulls/{pull_number}", "pull_requests:write")
def update_pull(call: Call) -> Answer:
    pull = _pull(call)
    _update(call, pull.issue)
    pull.base = call.body.get("base", pull.base)
    return Answer(200, call.shapes.pull(call.repository, pull, full=True))


@route("GET", "R/commits/{commit_sha}/pulls", "pull_requests:read")
def commit_pulls(call: Call) -> Answer:
    sha = call.parameters["commit_sha"]
    found = [pull for pull in call.repository.pulls() if sha in (pull.head_sha, pull.merge_sha)]
    return call.page(found, lambda pull: call.shapes.pull(call.repository, pull))


# --- issues


def _issue(call: Call) -> Issue:
    issue = call.repository.issues.get(call.number("issue_number"))
    if issue is None:
        raise not_found()
    return issue


def _names(labels: list[object]) -> list[str]:
    return [str(item["name"] if isinstance(item, dict) else item) for item in labels]


def _add_labels(call: Call, issue: Issue, labels: list[object]) -> None:
    for name in _names(labels):
        call.repository.labels.setdefault(name, (new_id(), "ededed", ""))
        if name not in issue.labels:
            issue.labels.append(name)


def _update(call: Call, issue: Issue) -> None:
    body = call.body
    issue.title, issue.body = body.get("title", issue.title), body.get("body", issue.body)
    if "labels" in body:
        issue.labels = []
        _add_labels(call, issue, body["labels"])
    if body.get("state", issue.state) != issue.state:
        issue.state = body["state"]
        issue.closed_at = now() if issue.state == "closed" else None
        default = "completed" if issue.state == "closed" else "reopened"
        issue.state_reason = None if issue.pull else body.get("state_reason", default)
    issue.updated_at = now()


@route("GET", "R/issues", "issues:read")
def list_issues(call: Call) -> Answer:
    query = call.query
    state, labels = query.get("state", "open"), [name for name in query.get("labels", "").split(",") if name]
    chosen = [
        issue
        for issue in call.repository.issues.values()
        if state in ("all", issue.state)
        and set(labels) <= set(issue.labels)
        and query.get("creator", issue.login) == issue.login
    ]
    chosen.sort(key=lambda issue: issue.number, reverse=query.get("direction", "desc") != "asc")
    return call.page(chosen, lambda issue: call.shapes.issue(call.repository, issue))


@route("POST", "R/issues", "issues:write")
def create_issue(call: Call) -> Answer:
    repo = call.repository
    issue = Issue(repo.next_number(), str(call.body.get("title")), call.body.get("body"), call.token.login)
    repo.issues[issue.number] = issue
    if call.token.may("issues", "write"):
        _add_labels(call, issue, call.body.get("labels") or [])
    shape = call.shapes.issue(repo, issue)
    return Answer(201, shape, {"Location": shape["url"]})


@route("GET", "R/issues/{issue_number}", _ISSUES + ":read")
def get_issue(call: Call) -> Answer:
    return Answer(200, call.shapes.issue(call.repository, _issue(call)))


@route("PATCH", "R/issues/{issue_number}", _ISSUES + ":write")
def update_issue(call: Call) -> Answer:
    issue = _issue(call)
    _update(call, issue)
    return Answer(200, call.shapes.issue(call.repository, issue))


@route("GET", "R/issues/{issue_number}/comments", _ISSUES + ":read")
def list_comments(call: Call) -> Answer:
    issue = _issue(call)
    return call.page(issue.comments, lambda comment: call.shapes.comment(call.repository, issue, comment))


@route("POST", "R/issues/{issue_number}/comments", _ISSUES + ":write")
def create_comment(call: Call) -> Answer:
    issue = _issue(call)
    comment = Comment(new_id(), str(call.body.get("body")), call.token.login)
    issue.comments.append(comment)
    issue.updated_at = now()
    shape = call.shapes.comment(call.repository, issue, comment)
    return Answer(201, shape, {"Location": shape["url"]})


def _comment(call: Call) -> tuple[Issue, Comment]:
    number = call.number("comment_id")
    for issue in call.repository.issues.values():
        for comment in issue.comments:
            if comment.id == number:
                return issue, comment
    raise not_found()


@route("GET", "R/issues/comments/{comment_id}", _ISSUES + ":read")
def get_comment(call: Call) -> Answer:
    return Answer(200, call.shapes.comment(call.repository, *_comment(call)))


@route("PATCH", "R/issues/comments/{comment_id}", _ISSUES + ":write")
def update_comment(call: Call) -> Answer:
    issue, comment = _comment(call)
    comment.body, comment.updated_at = str(call.body.get("body")), now()
    return Answer(200, call.shapes.comment(call.repository, issue, comment))


@route("GET", "R/issues/{issue_number}/labels", _ISSUES + ":read")
def issue_labels(call: Call) -> Answer:
    return call.page(_issue(call).labels, lambda name: call.shapes.label(call.repository, name))


@route("POST", "R/issues/{issue_number}/labels", _ISSUES + ":write")
def add_issue_labels(call: Call) -> Answer:
    issue = _issue(call)
    _add_labels(call, issue, call.body.get("labels") or [])
    return Answer(200, [call.shapes.label(call.repository, name) for name in issue.labels])


@route("GET", "R/labels", "issues:read")
def list_labels(call: Call) -> Answer:
    return call.page(list(call.repository.labels), lambda name: call.shapes.label(call.repository, name))


@route("POST", "R/labels", "issues:write")
def create_label(call: Call) -> Answer:
    repo, name = call.repository, str(call.body.get("name"))
    if name in repo.labels:
        raise invalid("Label", field="name", code="already_exists")
    repo.labels[name] = (new_id(), call.body.get("color") or "ededed", call.body.get("description") or "")
    return Answer(201, call.shapes.label(repo, name))


@route("GET", "R/commits/{commit_sha}/comments", "contents:read")
def commit_comments(call: Call) -> Answer:
    sha = call.parameters["commit_sha"]
    found = call.repository.commit_comments.get(sha, [])
    return call.page(found, lambda comment: call.shapes.commit_comment(call.repository, sha, comment))


@route("POST", "R/commits/{commit_sha}/comments", "contents:write")
def create_commit_comment(call: Call) -> Answer:
    sha = call.parameters["commit_sha"]
    if store.resolve(call.repository.git, sha) is None:
        raise Refusal(422, f"No commit found for SHA: {sha}")
    comment = Comment(new_id(), str(call.body.get("body")), call.token.login)
    call.repository.commit_comments.setdefault(sha, []).append(comment)
    shape = call.shapes.commit_comment(call.repository, sha, comment)
    return Answer(201, shape, {"Location": shape["url"]})
