"""What happens on GitHub by itself: pushes and pull requests make runs, completed runs make more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import store, webhooks, workflows
from .model import Attempt, Issue, PullRequest, Repository, Run, Workflow, now

if TYPE_CHECKING:
    from .shapes import Shapes

MAX_DEPTH = 3  # workflow_run chains on GitHub
_DIRECTORY = ".github/workflows"


class Events:
    """The part of the lab that turns what happened into queued runs."""

    queue: list[Run]
    shapes: Shapes

    def pushed(self, repo: Repository, ref: str, old: str, new: str, login: str, kind: str) -> None:
        """A branch or tag moved. A push with GITHUB_TOKEN starts nothing by itself."""
        if new == store.ZERO:
            return
        branch = ref.removeprefix("refs/heads/") if ref.startswith("refs/heads/") else None
        target = repo.fork_of or repo
        for pull in target.pulls():
            if branch and pull.state == "open" and pull.head == branch and pull.head_repository is repo:
                self._refresh(target, pull)
                self._pull_event(target, pull, "synchronize", login, kind)
        if kind == "actions" or repo.fork_of:
            return
        payload = webhooks.push(self.shapes, repo, ref, old, new, login)
        facts: dict[str, Any] = {"branch": branch} if branch else {"tag": ref.removeprefix("refs/tags/")}
        facts["paths"] = store.changed_paths(repo.git, old, new)
        title = store.commit_details(repo.git, new)["message"].strip().split("\n")[0]
        for path, source, document in self._sources(repo, new):
            if (
                document is None
                or "push" in (on := workflows.triggers(document))
                and workflows.matches("push", on["push"], **facts)
            ):
                self._start(repo, path, source, "push", payload, branch or ref, new, ref, new, login, title)

    def create_pull(
        self,
        repo: Repository,
        *,
        head: str,
        base: str,
        title: str,
        body: str | None,
        source: Repository,
        login: str,
        kind: str,
        draft: bool = False,
    ) -> PullRequest:
        issue = Issue(repo.next_number(), title, body, login)
        tips = store.refs(source.git)
        pull = PullRequest(
            issue,
            head,
            source,
            base,
            tips[f"refs/heads/{head}"],
            store.refs(repo.git)[f"refs/heads/{base}"],
            draft=draft,
            kind=kind,
        )
        issue.pull = pull
        repo.issues[issue.number] = issue
        self._refresh(repo, pull)
        self._pull_event(repo, pull, "opened", login, kind)
        return pull

    @staticmethod
    def _refresh(repo: Repository, pull: PullRequest) -> None:
        source = pull.head_repository
        pull.head_sha = store.refs(source.git)[f"refs/heads/{pull.head}"]
        pull.base_sha = store.refs(repo.git)[f"refs/heads/{pull.base}"]
        place = f"refs/pull/{pull.number}"
        if source is not repo:
            store.git(repo.git, "fetch", "--quiet", source.git.as_uri(), f"+{pull.head_sha}:{place}/head")
        store.git(repo.git, "update-ref", f"{place}/head", pull.head_sha)
        title = f"Merge {pull.head_sha} into {pull.base_sha}"
        pull.merge_sha = store.merge_commit(repo.git, pull.base_sha, pull.head_sha, title)
        if pull.merge_sha:
            store.git(repo.git, "update-ref", f"{place}/merge", pull.merge_sha)
        pull.issue.updated_at = now()

    def _pull_event(self, repo: Repository, pull: PullRequest, action: str, login: str, kind: str) -> None:
        if pull.merge_sha is None:
            return  # GitHub starts no run for a pull request with a conflict
        payload = webhooks.pull_request(self.shapes, repo, pull, action, login)
        changed = store.changed_paths(repo.git, pull.base_sha, pull.head_sha)
        for path, source, document in self._sources(repo, pull.merge_sha):
            on = workflows.triggers(document) if document else {}
            if "pull_request" in on and workflows.matches(
                "pull_request",
                on["pull_request"],
                branch=pull.base,
                paths=changed,
                action=action,
            ):
                self._start(
                    repo,
                    path,
                    source,
                    "pull_request",
                    payload,
                    pull.head,
                    pull.head_sha,
                    f"refs/pull/{pull.number}/merge",
                    pull.merge_sha,
                    login,
                    pull.title,
                    head_repository=pull.head_repository,
                    held=kind == "actions",
                )

    def dispatch(
        self,
        repo: Repository,
        path: str,
        ref: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        actor: str = "octocat",
    ) -> Run | None:
        """workflow_dispatch; None when the file on the default branch does not have that trigger."""
        path = path if "/" in path else f"{_DIRECTORY}/{path}"
        ref = (ref or repo.default_branch).removeprefix("refs/heads/")
        return self._by_hand(
            repo,
            path,
            ref,
            "workflow_dispatch",
            actor,
            webhooks.workflow_dispatch(
                self.shapes,
                repo,
                path,
                f"refs/heads/{ref}",
                dict(inputs or {}),
                actor,
            ),
        )

    def schedule(self, repo: Repository, path: str, cron: str = "0 0 * * *") -> Run | None:
        """The clock strikes for a workflow with `on: schedule`."""
        path = path if "/" in path else f"{_DIRECTORY}/{path}"
        payload = webhooks.schedule(self.shapes, repo, cron, path)
        return self._by_hand(repo, path, repo.default_branch, "schedule", repo.owner, payload)

    def _by_hand(
        self, repo: Repository, path: str, ref: str, event: str, actor: str, payload: dict[str, Any]
    ) -> Run | None:
        default = store.resolve(repo.git, repo.default_branch) or ""
        commit = store.resolve(repo.git, ref) or ""
        document = next((doc for name, _, doc in self._sources(repo, default) if name == path), None)
        if document is None or event not in workflows.triggers(document):
            return None
        for name, source, found in self._sources(repo, commit):
            if name == path and found is not None:
                return self._start(
                    repo,
                    path,
                    source,
                    event,
                    payload,
                    ref,
                    commit,
                    f"refs/heads/{ref}",
                    commit,
                    actor,
                    found.get("name", path),
                )
        return None

    def completed(self, run: Run) -> None:
        """Queue the workflows of the default branch that wait for this one."""
        repo = run.repository
        tip = store.resolve(repo.git, repo.default_branch)
        if tip is None or run.depth >= MAX_DEPTH:
            return
        payload = webhooks.workflow_run(self.shapes, run)
        self.contract.check_webhook("webhook-workflow-run-completed", payload)  # type: ignore[attr-defined]
        for path, source, document in self._sources(repo, tip):
            on = workflows.triggers(document) if document else {}
            if "workflow_run" in on and workflows.matches(
                "workflow_run",
                on["workflow_run"],
                branch=run.head_branch,
                action="completed",
                workflow=run.name,
            ):
                self._start(
                    repo,
                    path,
                    source,
                    "workflow_run",
                    payload,
                    repo.default_branch,
                    tip,
                    f"refs/heads/{repo.default_branch}",
                    tip,
                    run.actor,
                    (document or {}).get("name", path),
                    depth=run.depth + 1,
                )

    def rerun(self, run: Run, only: set[str] | None, login: str) -> None:
        """The same run once more; jobs outside `only` keep their result."""
        kept = [] if only is None else [job for job in run.jobs if job.key not in only]
        run.attempts.append(Attempt(run.attempt + 1, login, jobs=kept))
        self.queue.append(run)

    def approve(self, run: Run) -> None:
        """A person lets a held run go."""
        run.latest.status, run.latest.conclusion = "queued", None
        self.queue.append(run)

    @staticmethod
    def dependents(run: Run, keys: set[str]) -> set[str]:
        """The jobs that need one of these, directly or not."""
        jobs = (workflows.try_load(run.source) or {}).get("jobs", {})
        found: set[str] = set()
        while True:
            more = {
                key
                for key, job in jobs.items()
                if key not in found and set(workflows.as_list(job.get("needs", []))) & (keys | found)
            }
            if not more:
                return found
            found |= more

    def workflows(self, repo: Repository) -> list[Workflow]:
        """The workflows of the default branch."""
        tip = store.resolve(repo.git, repo.default_branch) or ""
        return [self._workflow(repo, path, document) for path, _, document in self._sources(repo, tip)]

    @staticmethod
    def _workflow(repo: Repository, path: str, document: Mapping[str, Any] | None) -> Workflow:
        # A file that cannot be read goes by its path.
        found = repo.workflows.setdefault(path, Workflow(path, path))
        found.name = str((document or {}).get("name") or path)
        return found

    @staticmethod
    def _sources(repo: Repository, commit: str) -> list[tuple[str, str, dict[str, Any] | None]]:
        found = []
        for _, kind, _, path in store.tree(repo.git, commit, _DIRECTORY):
            if kind == "blob" and path.endswith((".yml", ".yaml")):
                source = (store.blob(repo.git, commit, path) or b"").decode(errors="replace")
                found.append((path, source, workflows.try_load(source)))
        return found

    def _start(
        self,
        repo: Repository,
        path: str,
        source: str,
        event: str,
        payload: dict[str, Any],
        head_branch: str,
        head_sha: str,
        ref: str,
        sha: str,
        actor: str,
        title: str,
        *,
        head_repository: Repository | None = None,
        depth: int = 0,
        held: bool = False,
    ) -> Run:
        workflow = self._workflow(repo, path, workflows.try_load(source))
        number = 1 + sum(run.workflow is workflow for run in repo.runs)
        run = Run(
            repo,
            workflow,
            number,
            event,
            head_branch,
            head_sha,
            actor,
            payload,
            ref,
            sha,
            title,
            source,
            head_repository or repo,
            depth=depth,
        )
        # Since June 2026 a pull request made with GITHUB_TOKEN waits for a person's approval.
        run.attempts.append(Attempt(1, actor, *(("completed", "action_required") if held else ("queued", None))))
        repo.runs.append(run)
        if not held:
            self.queue.append(run)
        return run
