"""GitHub's JSON of the lab's objects. The contract check holds every field to the document."""

from __future__ import annotations

import base64
from typing import Any

from . import store
from .model import (
    Annotation, BOT, BOT_ID, Comment, Issue, Job, PullRequest, Repository, Run, Token, Workflow, node_id, stamp,
)

Json = dict[str, Any]

_REPOSITORY_URLS = {
    "archive": "/{archive_format}{/ref}", "assignees": "{/user}", "blobs": "/git/blobs{/sha}",
    "branches": "{/branch}", "collaborators": "{/collaborator}", "comments": "{/number}", "commits": "{/sha}",
    "compare": "/{base}...{head}", "contents": "/{+path}", "contributors": "", "deployments": "", "downloads": "",
    "events": "", "forks": "", "git_commits": "/git/commits{/sha}", "git_refs": "/git/refs{/sha}",
    "git_tags": "/git/tags{/sha}", "hooks": "", "issue_comment": "/issues/comments{/number}",
    "issue_events": "/issues/events{/number}", "issues": "{/number}", "keys": "{/key_id}", "labels": "{/name}",
    "languages": "", "merges": "", "milestones": "{/number}", "notifications": "{?since,all,participating}",
    "pulls": "{/number}", "releases": "{/id}", "stargazers": "", "statuses": "/{sha}", "subscribers": "",
    "subscription": "", "tags": "", "teams": "", "trees": "/git/trees{/sha}",
}


def public_id(login: str) -> int:
    """A stable account number for a login."""
    return BOT_ID if login == BOT else 1000 + sum(ord(char) * (index + 7) for index, char in enumerate(login))


class Shapes:
    """Builds JSON whose links point at the server that was asked."""

    def __init__(self, api: str, server: str):
        self.api, self.server = api, server

    def user(self, login: str) -> Json:
        number, url = public_id(login), f"{self.api}/users/{login}"
        links = {
            f"{name}_url": f"{url}/{path}" for name, path in (
                ("followers", "followers"), ("following", "following{/other_user}"), ("gists", "gists{/gist_id}"),
                ("starred", "starred{/owner}{/repo}"), ("subscriptions", "subscriptions"),
                ("organizations", "orgs"), ("repos", "repos"), ("events", "events{/privacy}"),
                ("received_events", "received_events"),
            )
        }
        return {
            "login": login, "id": number, "node_id": node_id("User", number),
            "avatar_url": f"{self.server}/avatars/{number}", "gravatar_id": "", "url": url,
            "html_url": f"{self.server}/{login}", **links,
            "type": "Bot" if login.endswith("[bot]") else "User", "site_admin": False, "user_view_type": "public",
        }

    def authenticated_user(self, token: Token) -> Json:
        return {
            **self.user(token.login), "name": None, "company": None, "blog": "", "location": None, "email": None,
            "hireable": None, "bio": None, "public_repos": 1, "public_gists": 0, "followers": 0, "following": 0,
            "created_at": "2020-01-01T00:00:00Z", "updated_at": "2020-01-01T00:00:00Z",
        }

    def repository(self, repo: Repository, full: bool = False) -> Json:
        url, html = f"{self.api}/repos/{repo.full_name}", f"{self.server}/{repo.full_name}"
        links = {
            f"{name}_url": f"{url}{tail}" if tail.startswith(("/git/", "/issues/")) else f"{url}/{name}{tail}"
            for name, tail in _REPOSITORY_URLS.items()
        }
        small = {
            "id": repo.id, "node_id": node_id("Repository", repo.id), "name": repo.name, "full_name": repo.full_name,
            "private": repo.private, "owner": self.user(repo.owner), "html_url": html, "description": None,
            "fork": repo.fork_of is not None, "url": url, **links,
        }
        if not full:
            return small
        open_issues = sum(issue.state == "open" for issue in repo.issues.values())
        return {
            **small, "created_at": stamp(repo.created_at), "updated_at": stamp(repo.created_at),
            "pushed_at": stamp(repo.created_at), "git_url": f"git:{html.split(':', 1)[1]}.git",
            "ssh_url": f"git@github.com:{repo.full_name}.git", "clone_url": f"{html}.git", "svn_url": html,
            "homepage": None, "size": 1, "stargazers_count": 0, "watchers_count": 0, "language": None,
            "has_issues": True, "has_projects": False, "has_downloads": False, "has_wiki": False, "has_pages": False,
            "has_discussions": False, "forks_count": 0, "mirror_url": None, "archived": False, "disabled": False,
            "open_issues_count": open_issues, "license": None, "allow_forking": True, "is_template": False,
            "web_commit_signoff_required": False, "topics": [],
            "visibility": "private" if repo.private else "public", "forks": 0, "open_issues": open_issues,
            "watchers": 0, "default_branch": repo.default_branch, "network_count": 0, "subscribers_count": 0,
        }

    def commit(self, repo: Repository, sha: str) -> Json | None:
        if not store.resolve(repo.git, sha):
            return None
        found = store.commit_details(repo.git, sha)
        return {
            "id": found["sha"], "tree_id": found["tree"], "message": found["message"].strip(),
            "timestamp": found["date"], "author": {"name": found["author"], "email": found["author_email"]},
            "committer": {"name": found["committer"], "email": found["committer_email"]},
        }

    def run(self, run: Run, attempt: int | None = None) -> Json:
        repo = run.repository
        url, html = f"{self.api}/repos/{repo.full_name}/actions/runs/{run.id}", f"{self.server}/{repo.full_name}"
        one = run.attempts[attempt - 1] if attempt else run.latest
        here = f"{url}/attempts/{one.number}" if attempt and attempt < run.attempt else url
        previous = f"{url}/attempts/{one.number - 1}" if one.number > 1 else None
        pulls = [
            self.minimal_pull(pull) for pull in repo.pulls()
            if pull.state == "open" and pull.head == run.head_branch and pull.head_repository is repo
            and run.head_repository is repo
        ]
        return {
            "id": run.id, "name": run.name, "node_id": node_id("WorkflowRun", run.id), "head_branch": run.head_branch,
            "head_sha": run.head_sha, "path": run.workflow.path, "display_title": run.title,
            "run_number": run.number, "event": run.event, "status": one.status, "conclusion": one.conclusion,
            "workflow_id": run.workflow.id, "check_suite_id": run.check_suite_id,
            "check_suite_node_id": node_id("CheckSuite", run.check_suite_id), "url": url,
            "html_url": f"{html}/actions/runs/{run.id}", "pull_requests": pulls, "created_at": stamp(run.created_at),
            "updated_at": stamp(one.updated_at), "actor": self.user(run.actor), "run_attempt": one.number,
            "referenced_workflows": [], "run_started_at": stamp(one.started_at),
            "triggering_actor": self.user(one.triggering_actor), "jobs_url": f"{here}/jobs",
            "logs_url": f"{here}/logs", "check_suite_url": f"{self.api}/repos/{repo.full_name}/check-suites/{run.check_suite_id}",
            "artifacts_url": f"{url}/artifacts", "cancel_url": f"{url}/cancel", "rerun_url": f"{url}/rerun",
            "previous_attempt_url": previous,
            "workflow_url": f"{self.api}/repos/{repo.full_name}/actions/workflows/{run.workflow.id}",
            "head_commit": self.commit(run.head_repository, run.head_sha), "repository": self.repository(repo),
            "head_repository": self.repository(run.head_repository),
        }

    def job(self, run: Run, job: Job) -> Json:
        root = f"{self.api}/repos/{run.repository.full_name}"
        attempt = next(a.number for a in reversed(run.attempts) if job in a.jobs)
        return {
            "id": job.id, "run_id": run.id, "workflow_name": run.name, "head_branch": run.head_branch,
            "run_url": f"{root}/actions/runs/{run.id}", "run_attempt": attempt,
            "node_id": node_id("CheckRun", job.id), "head_sha": run.head_sha, "url": f"{root}/actions/jobs/{job.id}",
            "html_url": f"{self.server}/{run.repository.full_name}/actions/runs/{run.id}/job/{job.id}",
            "status": job.status, "conclusion": job.conclusion, "created_at": stamp(job.created_at),
            "started_at": stamp(job.started_at or job.created_at), "completed_at": stamp(job.completed_at),
            "name": job.name,
            "steps": [
                {
                    "name": step.name, "status": step.status, "conclusion": step.conclusion, "number": step.number,
                    "started_at": stamp(step.started_at), "completed_at": stamp(step.completed_at),
                }
                for step in job.steps
            ],
            "check_run_url": f"{root}/check-runs/{job.id}", "labels": job.labels,
            "runner_id": 1000000 + job.id % 97 if job.has_runner else 0,
            "runner_name": f"GitHub Actions {1000000 + job.id % 97}" if job.has_runner else "",
            "runner_group_id": 0, "runner_group_name": "GitHub Actions" if job.has_runner else "",
        }

    def annotation(self, run: Run, note: Annotation) -> Json:
        href = f"{self.server}/{run.repository.full_name}/blob/{run.head_sha}/{note.path}"
        return {
            "path": note.path, "blob_href": href, "start_line": note.line, "start_column": None,
            "end_line": note.line, "end_column": None, "annotation_level": note.level, "title": note.title,
            "message": note.message, "raw_details": "",
        }

    def workflow(self, repo: Repository, workflow: Workflow) -> Json:
        html = f"{self.server}/{repo.full_name}"
        return {
            "id": workflow.id, "node_id": node_id("Workflow", workflow.id), "name": workflow.name,
            "path": workflow.path, "state": "active", "created_at": stamp(workflow.created_at),
            "updated_at": stamp(workflow.created_at),
            "url": f"{self.api}/repos/{repo.full_name}/actions/workflows/{workflow.id}",
            "html_url": f"{html}/blob/{repo.default_branch}/{workflow.path}",
            "badge_url": f"{html}/workflows/{workflow.name}/badge.svg",
        }

    def minimal_pull(self, pull: PullRequest) -> Json:
        repo = pull.head_repository.fork_of or pull.head_repository
        base = f"{self.api}/repos/{repo.full_name}"

        def side(ref: str, sha: str, owner: Repository) -> Json:
            short = {"id": owner.id, "url": f"{self.api}/repos/{owner.full_name}", "name": owner.name}
            return {"ref": ref, "sha": sha, "repo": short}

        return {
            "id": pull.id, "number": pull.number, "url": f"{base}/pulls/{pull.number}",
            "head": side(pull.head, pull.head_sha, pull.head_repository), "base": side(pull.base, pull.base_sha, repo),
        }

    def pull(self, repo: Repository, pull: PullRequest, full: bool = False) -> Json:
        url = f"{self.api}/repos/{repo.full_name}/pulls/{pull.number}"
        issue_url = f"{self.api}/repos/{repo.full_name}/issues/{pull.number}"
        html = f"{self.server}/{repo.full_name}/pull/{pull.number}"
        statuses = f"{self.api}/repos/{repo.full_name}/statuses/{pull.head_sha}"

        def side(ref: str, sha: str, owner: Repository) -> Json:
            return {
                "label": f"{owner.owner}:{ref}", "ref": ref, "sha": sha, "user": self.user(owner.owner),
                "repo": self.repository(owner, full=True),
            }

        links = {
            "self": url, "html": html, "issue": issue_url, "comments": f"{issue_url}/comments",
            "review_comments": f"{url}/comments", "review_comment": f"{url}/comments{{/number}}",
            "commits": f"{url}/commits", "statuses": statuses,
        }
        small = {
            "url": url, "id": pull.id, "node_id": node_id("PullRequest", pull.id), "html_url": html,
            "diff_url": f"{html}.diff", "patch_url": f"{html}.patch", "issue_url": issue_url, "number": pull.number,
            "state": pull.state, "locked": False, "title": pull.title, "user": self.user(pull.login),
            "body": pull.body, "created_at": stamp(pull.issue.created_at), "updated_at": stamp(pull.issue.updated_at),
            "closed_at": stamp(pull.issue.closed_at), "merged_at": stamp(pull.merged_at),
            "merge_commit_sha": pull.merge_sha, "assignee": None, "assignees": [], "requested_reviewers": [],
            "requested_teams": [], "labels": [self.label(repo, name) for name in pull.labels], "milestone": None,
            "draft": pull.draft, "commits_url": links["commits"], "review_comments_url": links["review_comments"],
            "review_comment_url": links["review_comment"], "comments_url": links["comments"],
            "statuses_url": statuses, "head": side(pull.head, pull.head_sha, pull.head_repository),
            "base": side(pull.base, pull.base_sha, repo),
            "_links": {name: {"href": href} for name, href in links.items()},
            "author_association": "NONE" if pull.login.endswith("[bot]") else "MEMBER", "auto_merge": None,
        }
        if not full:
            return small
        changed = store.changed_paths(repo.git, pull.base_sha, pull.head_sha)
        return {
            **small, "merged": pull.merged_at is not None, "mergeable": pull.merge_sha is not None,
            "rebaseable": None, "mergeable_state": "clean" if pull.merge_sha else "dirty", "merged_by": None,
            "comments": len(pull.comments), "review_comments": 0, "maintainer_can_modify": False, "commits": 1,
            "additions": len(changed), "deletions": 0, "changed_files": len(changed),
        }

    def label(self, repo: Repository, name: str) -> Json:
        number, color, description = repo.labels.get(name, (1, "ededed", ""))
        return {
            "id": number, "node_id": node_id("Label", number),
            "url": f"{self.api}/repos/{repo.full_name}/labels/{name}", "name": name, "color": color,
            "default": False, "description": description or None,
        }

    def issue(self, repo: Repository, issue: Issue) -> Json:
        root = f"{self.api}/repos/{repo.full_name}"
        url = f"{root}/issues/{issue.number}"
        page = "pull" if issue.pull else "issues"
        shape = {
            "url": url, "repository_url": root, "labels_url": f"{url}/labels{{/name}}",
            "comments_url": f"{url}/comments", "events_url": f"{url}/events",
            "html_url": f"{self.server}/{repo.full_name}/{page}/{issue.number}", "id": issue.id,
            "node_id": node_id("Issue", issue.id), "number": issue.number, "title": issue.title,
            "user": self.user(issue.login), "labels": [self.label(repo, name) for name in issue.labels],
            "state": issue.state, "locked": False, "assignee": None, "assignees": [], "milestone": None,
            "comments": len(issue.comments), "created_at": stamp(issue.created_at),
            "updated_at": stamp(issue.updated_at), "closed_at": stamp(issue.closed_at),
            "author_association": "NONE", "active_lock_reason": None, "body": issue.body, "closed_by": None,
            "timeline_url": f"{url}/timeline", "state_reason": issue.state_reason,
        }
        if issue.pull:
            html = f"{self.server}/{repo.full_name}/pull/{issue.number}"
            shape["pull_request"] = {
                "url": f"{root}/pulls/{issue.number}", "html_url": html, "diff_url": f"{html}.diff",
                "patch_url": f"{html}.patch", "merged_at": stamp(issue.pull.merged_at),
            }
        return shape

    def comment(self, repo: Repository, issue: Issue, comment: Comment) -> Json:
        root, page = f"{self.api}/repos/{repo.full_name}", "pull" if issue.pull else "issues"
        return {
            "url": f"{root}/issues/comments/{comment.id}", "issue_url": f"{root}/issues/{issue.number}",
            "html_url": f"{self.server}/{repo.full_name}/{page}/{issue.number}#issuecomment-{comment.id}",
            "id": comment.id, "node_id": node_id("IssueComment", comment.id), "user": self.user(comment.login),
            "created_at": stamp(comment.created_at), "updated_at": stamp(comment.updated_at),
            "author_association": "NONE", "body": comment.body, "performed_via_github_app": None,
        }

    def commit_comment(self, repo: Repository, sha: str, comment: Comment) -> Json:
        return {
            "url": f"{self.api}/repos/{repo.full_name}/comments/{comment.id}",
            "html_url": f"{self.server}/{repo.full_name}/commit/{sha}#commitcomment-{comment.id}",
            "id": comment.id, "node_id": node_id("CommitComment", comment.id), "user": self.user(comment.login),
            "position": None, "line": None, "path": None, "commit_id": sha, "author_association": "NONE",
            "created_at": stamp(comment.created_at), "updated_at": stamp(comment.updated_at), "body": comment.body,
        }

    def content(self, repo: Repository, ref: str, entry: tuple[str, str, str, str], data: bytes | None) -> Json:
        mode, kind, sha, path = entry
        url, html = f"{self.api}/repos/{repo.full_name}", f"{self.server}/{repo.full_name}"
        itself = f"{url}/contents/{path}?ref={ref}"
        what = {"tree": "dir", "commit": "submodule"}.get(kind, "symlink" if mode == "120000" else "file")
        part = "trees" if what == "dir" else "blobs"
        links = {"self": itself, "git": f"{url}/git/{part}/{sha}", "html": f"{html}/blob/{ref}/{path}"}
        shape = {
            "name": path.rsplit("/", 1)[-1], "path": path, "sha": sha, "size": len(data or b""), "url": itself,
            "html_url": links["html"], "git_url": links["git"],
            "download_url": f"{html}/raw/{ref}/{path}" if what == "file" else None, "type": what, "_links": links,
        }
        if data is not None and what == "file":
            shape |= {"content": base64.encodebytes(data).decode(), "encoding": "base64"}
        return shape
