"""GitHub's JSON of pull requests, issues, labels and comments."""

from __future__ import annotations

from . import store
from .model import Comment, Issue, PullRequest, Repository, node_id, stamp
from .shapes_core import CoreShapes, Json


class ConversationShapes(CoreShapes):
    """What people and programs talk about."""

    def minimal_pull(self, pull: PullRequest) -> Json:
        repo = pull.head_repository.fork_of or pull.head_repository
        base = f"{self.api}/repos/{repo.full_name}"

        def side(ref: str, sha: str, owner: Repository) -> Json:
            short = {"id": owner.id, "url": f"{self.api}/repos/{owner.full_name}", "name": owner.name}
            return {"ref": ref, "sha": sha, "repo": short}

        return {
            "id": pull.id,
            "number": pull.number,
            "url": f"{base}/pulls/{pull.number}",
            "head": side(pull.head, pull.head_sha, pull.head_repository),
            "base": side(pull.base, pull.base_sha, repo),
        }

    def pull(self, repo: Repository, pull: PullRequest, full: bool = False) -> Json:
        url = f"{self.api}/repos/{repo.full_name}/pulls/{pull.number}"
        issue_url = f"{self.api}/repos/{repo.full_name}/issues/{pull.number}"
        html = f"{self.server}/{repo.full_name}/pull/{pull.number}"
        statuses = f"{self.api}/repos/{repo.full_name}/statuses/{pull.head_sha}"

        def side(ref: str, sha: str, owner: Repository) -> Json:
            return {
                "label": f"{owner.owner}:{ref}",
                "ref": ref,
                "sha": sha,
                "user": self.user(owner.owner),
                "repo": self.repository(owner, full=True),
            }

        links = {
            "self": url,
            "html": html,
            "issue": issue_url,
            "comments": f"{issue_url}/comments",
            "review_comments": f"{url}/comments",
            "review_comment": f"{url}/comments{{/number}}",
            "commits": f"{url}/commits",
            "statuses": statuses,
        }
        small = {
            "url": url,
            "id": pull.id,
            "node_id": node_id("PullRequest", pull.id),
            "html_url": html,
            "diff_url": f"{html}.diff",
            "patch_url": f"{html}.patch",
            "issue_url": issue_url,
            "number": pull.number,
            "state": pull.state,
            "locked": False,
            "title": pull.title,
            "user": self.user(pull.login),
            "body": pull.body,
            "created_at": stamp(pull.issue.created_at),
            "updated_at": stamp(pull.issue.updated_at),
            "closed_at": stamp(pull.issue.closed_at),
            "merged_at": stamp(pull.merged_at),
            "merge_commit_sha": pull.merge_sha,
            "assignee": None,
            "assignees": [],
            "requested_reviewers": [],
            "requested_teams": [],
            "labels": [self.label(repo, name) for name in pull.labels],
            "milestone": None,
            "draft": pull.draft,
            "commits_url": links["commits"],
            "review_comments_url": links["review_comments"],
            "review_comment_url": links["review_comment"],
            "comments_url": links["comments"],
            "statuses_url": statuses,
            "head": side(pull.head, pull.head_sha, pull.head_repository),
            "base": side(pull.base, pull.base_sha, repo),
            "_links": {name: {"href": href} for name, href in links.items()},
            "author_association": "NONE" if pull.login.endswith("[bot]") else "MEMBER",
            "auto_merge": None,
        }
        if not full:
            return small
        changed = store.changed_paths(repo.git, pull.base_sha, pull.head_sha)
        return {
            **small,
            "merged": pull.merged_at is not None,
            "mergeable": pull.merge_sha is not None,
            "rebaseable": None,
            "mergeable_state": "clean" if pull.merge_sha else "dirty",
            "merged_by": None,
            "comments": len(pull.comments),
            "review_comments": 0,
            "maintainer_can_modify": False,
            "commits": 1,
            "additions": len(changed),
            "deletions": 0,
            "changed_files": len(changed),
        }

    def label(self, repo: Repository, name: str) -> Json:
        number, color, description = repo.labels.get(name, (1, "ededed", ""))
        return {
            "id": number,
            "node_id": node_id("Label", number),
            "url": f"{self.api}/repos/{repo.full_name}/labels/{name}",
            "name": name,
            "color": color,
            "default": False,
            "description": description or None,
        }

    def issue(self, repo: Repository, issue: Issue) -> Json:
        root = f"{self.api}/repos/{repo.full_name}"
        url = f"{root}/issues/{issue.number}"
        page = "pull" if issue.pull else "issues"
        shape = {
            "url": url,
            "repository_url": root,
            "labels_url": f"{url}/labels{{/name}}",
            "comments_url": f"{url}/comments",
            "events_url": f"{url}/events",
            "html_url": f"{self.server}/{repo.full_name}/{page}/{issue.number}",
            "id": issue.id,
            "node_id": node_id("Issue", issue.id),
            "number": issue.number,
            "title": issue.title,
            "user": self.user(issue.login),
            "labels": [self.label(repo, name) for name in issue.labels],
            "state": issue.state,
            "locked": False,
            "assignee": None,
            "assignees": [],
            "milestone": None,
            "comments": len(issue.comments),
            "created_at": stamp(issue.created_at),
            "updated_at": stamp(issue.updated_at),
            "closed_at": stamp(issue.closed_at),
            "author_association": "NONE",
            "active_lock_reason": None,
            "body": issue.body,
            "closed_by": None,
            "timeline_url": f"{url}/timeline",
            "state_reason": issue.state_reason,
        }
        if issue.pull:
            html = f"{self.server}/{repo.full_name}/pull/{issue.number}"
            shape["pull_request"] = {
                "url": f"{root}/pulls/{issue.number}",
                "html_url": html,
                "diff_url": f"{html}.diff",
                "patch_url": f"{html}.patch",
                "merged_at": stamp(issue.pull.merged_at),
            }
        return shape

    def comment(self, repo: Repository, issue: Issue, comment: Comment) -> Json:
        root, page = f"{self.api}/repos/{repo.full_name}", "pull" if issue.pull else "issues"
        return {
            "url": f"{root}/issues/comments/{comment.id}",
            "issue_url": f"{root}/issues/{issue.number}",
            "html_url": f"{self.server}/{repo.full_name}/{page}/{issue.number}#issuecomment-{comment.id}",
            "id": comment.id,
            "node_id": node_id("IssueComment", comment.id),
            "user": self.user(comment.login),
            "created_at": stamp(comment.created_at),
            "updated_at": stamp(comment.updated_at),
            "author_association": "NONE",
            "body": comment.body,
            "performed_via_github_app": None,
        }

    def commit_comment(self, repo: Repository, sha: str, comment: Comment) -> Json:
        return {
            "url": f"{self.api}/repos/{repo.full_name}/comments/{comment.id}",
            "html_url": f"{self.server}/{repo.full_name}/commit/{sha}#commitcomment-{comment.id}",
            "id": comment.id,
            "node_id": node_id("CommitComment", comment.id),
            "user": self.user(comment.login),
            "position": None,
            "line": None,
            "path": None,
            "commit_id": sha,
            "author_association": "NONE",
            "created_at": stamp(comment.created_at),
            "updated_at": stamp(comment.updated_at),
            "body": comment.body,
        }
