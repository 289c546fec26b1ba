"""GitHub's JSON of accounts, repositories, commits and files."""

from __future__ import annotations

import base64
from typing import Any

from . import store
from .model import BOT, BOT_ID, Repository, Token, node_id, stamp

Json = dict[str, Any]

_REPOSITORY_URLS = {
    "archive": "/{archive_format}{/ref}",
    "assignees": "{/user}",
    "blobs": "/git/blobs{/sha}",
    "branches": "{/branch}",
    "collaborators": "{/collaborator}",
    "comments": "{/number}",
    "commits": "{/sha}",
    "compare": "/{base}...{head}",
    "contents": "/{+path}",
    "contributors": "",
    "deployments": "",
    "downloads": "",
    "events": "",
    "forks": "",
    "git_commits": "/git/commits{/sha}",
    "git_refs": "/git/refs{/sha}",
    "git_tags": "/git/tags{/sha}",
    "hooks": "",
    "issue_comment": "/issues/comments{/number}",
    "issue_events": "/issues/events{/number}",
    "issues": "{/number}",
    "keys": "{/key_id}",
    "labels": "{/name}",
    "languages": "",
    "merges": "",
    "milestones": "{/number}",
    "notifications": "{?since,all,participating}",
    "pulls": "{/number}",
    "releases": "{/id}",
    "stargazers": "",
    "statuses": "/{sha}",
    "subscribers": "",
    "subscription": "",
    "tags": "",
    "teams": "",
    "trees": "/git/trees{/sha}",
}


def public_id(login: str) -> int:
    """A stable account number for a login."""
    return BOT_ID if login == BOT else 1000 + sum(ord(char) * (index + 7) for index, char in enumerate(login))


class CoreShapes:
    """Builds JSON whose links point at the server that was asked."""

    def __init__(self, api: str, server: str):
        self.api, self.server = api, server

    def user(self, login: str) -> Json:
        number, url = public_id(login), f"{self.api}/users/{login}"
        links = {
            f"{name}_url": f"{url}/{path}"
            for name, path in (
                ("followers", "followers"),
                ("following", "following{/other_user}"),
                ("gists", "gists{/gist_id}"),
                ("starred", "starred{/owner}{/repo}"),
                ("subscriptions", "subscriptions"),
                ("organizations", "orgs"),
                ("repos", "repos"),
                ("events", "events{/privacy}"),
                ("received_events", "received_events"),
            )
        }
        return {
            "login": login,
            "id": number,
            "node_id": node_id("User", number),
            "avatar_url": f"{self.server}/avatars/{number}",
            "gravatar_id": "",
            "url": url,
            "html_url": f"{self.server}/{login}",
            **links,
            "type": "Bot" if login.endswith("[bot]") else "User",
            "site_admin": False,
            "user_view_type": "public",
        }

    def authenticated_user(self, token: Token) -> Json:
        return {
            **self.user(token.login),
            "name": None,
            "company": None,
            "blog": "",
            "location": None,
            "email": None,
            "hireable": None,
            "bio": None,
            "public_repos": 1,
            "public_gists": 0,
            "followers": 0,
            "following": 0,
            "created_at": "2020-01-01T00:00:00Z",
            "updated_at": "2020-01-01T00:00:00Z",
        }

    def repository(self, repo: Repository, full: bool = False) -> Json:
        url, html = f"{self.api}/repos/{repo.full_name}", f"{self.server}/{repo.full_name}"
        links = {
            f"{name}_url": f"{url}{tail}" if tail.startswith(("/git/", "/issues/")) else f"{url}/{name}{tail}"
            for name, tail in _REPOSITORY_URLS.items()
        }
        small = {
            "id": repo.id,
            "node_id": node_id("Repository", repo.id),
            "name": repo.name,
            "full_name": repo.full_name,
            "private": repo.private,
            "owner": self.user(repo.owner),
            "html_url": html,
            "description": None,
            "fork": repo.fork_of is not None,
            "url": url,
            **links,
        }
        if not full:
            return small
        open_issues = sum(issue.state == "open" for issue in repo.issues.values())
        return {
            **small,
            "created_at": stamp(repo.created_at),
            "updated_at": stamp(repo.created_at),
            "pushed_at": stamp(repo.created_at),
            "git_url": f"git:{html.split(':', 1)[1]}.git",
            "ssh_url": f"git@github.com:{repo.full_name}.git",
            "clone_url": f"{html}.git",
            "svn_url": html,
            "homepage": None,
            "size": 1,
            "stargazers_count": 0,
            "watchers_count": 0,
            "language": None,
            "has_issues": True,
            "has_projects": False,
            "has_downloads": False,
            "has_wiki": False,
            "has_pages": False,
            "has_discussions": False,
            "forks_count": 0,
            "mirror_url": None,
            "archived": False,
            "disabled": False,
            "open_issues_count": open_issues,
            "license": None,
            "allow_forking": True,
            "is_template": False,
            "web_commit_signoff_required": False,
            "topics": [],
            "visibility": "private" if repo.private else "public",
            "forks": 0,
            "open_issues": open_issues,
            "watchers": 0,
            "default_branch": repo.default_branch,
            "network_count": 0,
            "subscribers_count": 0,
        }

    def commit(self, repo: Repository, sha: str) -> Json | None:
        if not store.resolve(repo.git, sha):
            return None
        found = store.commit_details(repo.git, sha)
        return {
            "id": found["sha"],
            "tree_id": found["tree"],
            "message": found["message"].strip(),
            "timestamp": found["date"],
            "author": {"name": found["author"], "email": found["author_email"]},
            "committer": {"name": found["committer"], "email": found["committer_email"]},
        }

    def content(self, repo: Repository, ref: str, entry: tuple[str, str, str, str], data: bytes | None) -> Json:
        mode, kind, sha, path = entry
        url, html = f"{self.api}/repos/{repo.full_name}", f"{self.server}/{repo.full_name}"
        itself = f"{url}/contents/{path}?ref={ref}"
        what = {"tree": "dir", "commit": "submodule"}.get(kind, "symlink" if mode == "120000" else "file")
        part = "trees" if what == "dir" else "blobs"
        links = {"self": itself, "git": f"{url}/git/{part}/{sha}", "html": f"{html}/blob/{ref}/{path}"}
        shape = {
            "name": path.rsplit("/", 1)[-1],
            "path": path,
            "sha": sha,
            "size": len(data or b""),
            "url": itself,
            "html_url": links["html"],
            "git_url": links["git"],
            "download_url": f"{html}/raw/{ref}/{path}" if what == "file" else None,
            "type": what,
            "_links": links,
        }
        if data is not None and what == "file":
            shape |= {"content": base64.encodebytes(data).decode(), "encoding": "base64"}
        return shape
