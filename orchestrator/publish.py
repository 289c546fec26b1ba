"""Makes a verified change visible, in the way that was asked for or the next best one.

Names come from the fingerprint, so that doing it twice, or again after being killed anywhere,
ends in the same one branch and pull request.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.errors import Conflict, ServiceError
from orchestrator.event import BRANCH_PREFIX, TRAILER
from orchestrator.model import Mode, Publication, Safety, Verdict, WorkflowIssue, WorkflowRun
from orchestrator.ports import GitHub, Ports, PullRequest, Repository
from orchestrator.redact import redact
from orchestrator.report.markdown import pull_request_body


class Unpublished(Exception):
    """No way of publishing was open; the reason says which door was closed and how to open it."""


def publish(
    verdict: Verdict, run: WorkflowRun, mode: Mode, repository: Repository, ports: Ports, *, folder: Path
) -> Publication:
    """Publish in ``mode``; a refusal falls to a patch file in ``folder`` with the reason noted.

    Raises Unpublished when the user's own work tree must not be written.
    """
    ports.progress.stage(f"publishing ({mode})")
    match mode:
        case Mode.REPORT:
            return Publication(kind="report")
        case Mode.PATCH:
            return _patch(verdict, folder)
        case Mode.APPLY | Mode.COMMIT if ports.github is None:
            return _locally(verdict, mode, repository)
        case Mode.APPLY:
            raise Unpublished("--mode apply is for local logs and a local repository; use commit, patch or pull-request")
        case Mode.COMMIT | Mode.PULL_REQUEST | Mode.PUSH:
            try:
                return _remotely(verdict, run, mode, repository, ports.github)
            except ServiceError as refused:
                return replace(_patch(verdict, folder), note=f"{refused}. The change is in the patch instead")


def rerun(run: WorkflowRun, github: GitHub | None) -> Publication:
    """Start the failed jobs again; without GitHub, say how a person does."""
    if github is None or not run.repository:
        command = f"gh run rerun {run.run_id} --failed" if run.run_id else "gh run rerun RUN_ID --failed"
        return Publication(kind="none", note=f"re-run the failed jobs: {command}")
    github.rerun_failed_jobs(run.repository, int(run.run_id))
    return Publication(kind="rerun", url=run.html_url, note=f"attempt {run.attempt + 1} of the failed jobs")


def branch_name(issue: WorkflowIssue, run: WorkflowRun) -> str:
    """The one branch for this failure of this commit."""
    return f"{BRANCH_PREFIX}{issue.fingerprint[:12]}" + (f"-{run.head_sha[:7]}" if run.head_sha else "")


def commit_message(verdict: Verdict, run: WorkflowRun) -> str:
    """Subject, cause, proof, and the trailers by which we know our own commits."""
    planned = verdict.change.planned
    proof = planned.issue.evidence[0].text.strip()[:200]
    climbed = ", ".join(v.rung for v in verdict.verification if v.passed)
    lines = [
        _printable(planned.fix.title),
        "",
        f"Cause: {_printable(planned.issue.fix_description)}",
        f"Proof: {_printable(redact(proof))}",
        f"Verified: {climbed}",
        "",
        TRAILER,
        f"Orchestrator-Fingerprint: {planned.issue.fingerprint}",
    ]
    if run.html_url:
        lines.append(f"Orchestrator-Run: {run.html_url}")
    return "\n".join(lines) + "\n"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _patch(verdict: Verdict, folder: Path) -> Publication:
    path = folder / f"mcp-orchestrator-{verdict.change.planned.issue.fingerprint[:12]}.patch"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(verdict.change.diff, "utf-8", newline="")
    except OSError as wrong:
        raise Unpublished(f"the patch can't be written to {path}: {wrong.strerror}") from None
    return Publication(kind="patch", path=str(path))


def _locally(verdict: Verdict, mode: Mode, repository: Repository) -> Publication:
    paths = [file.path for file in verdict.change.files]
    dirty = repository.dirty(paths)
    if dirty:
        raise Unpublished(f"{', '.join(dirty)} has uncommitted changes; commit or stash them and run again")
    if mode is Mode.APPLY:
        repository.apply(verdict.change.files)
        return Publication(kind="apply", note="written into the work tree, not committed")
    run = WorkflowRun(run_id="", workflow_name="")
    branch = branch_name(verdict.change.planned.issue, run)
    sha = repository.commit(verdict.change.files, branch=branch, message=commit_message(verdict, run))
    return Publication(kind="commit", branch=branch, commit_sha=sha, note=f"git merge {branch}")


def _remotely(
    verdict: Verdict, run: WorkflowRun, mode: Mode, repository: Repository, github: GitHub | None
) -> Publication:
    if github is None or not run.repository:
        raise Unpublished("publishing needs a run on GitHub; use --mode apply, commit or patch")
    issue, fix = verdict.change.planned.issue, verdict.change.planned.fix
    note = ""
    if mode is Mode.PUSH:
        if fix.safety is Safety.SAFE:
            sha = repository.commit(
                verdict.change.files, branch=branch_name(issue, run), message=commit_message(verdict, run)
            )
            repository.push(run.head_branch, sha, expect=run.head_sha)
            return Publication(kind="push", branch=run.head_branch, commit_sha=sha)
        note = "a pull request, because this mend wants a person's review"
    branch = branch_name(issue, run)
    if mode is Mode.COMMIT:
        sha = repository.commit(verdict.change.files, branch=branch, message=commit_message(verdict, run))
        there = _push_branch(repository, branch, sha)
        return Publication(kind="commit", branch=branch, commit_sha=there)
    owner = run.repository.split("/", 1)[0]
    existing = github.pull_requests(run.repository, head=f"{owner}:{branch}")
    if existing:
        return _published(existing[0], branch, "", "the pull request was open already")
    sha = repository.commit(verdict.change.files, branch=branch, message=commit_message(verdict, run))
    sha = _push_branch(repository, branch, sha)
    try:
        opened = github.open_pull_request(
            run.repository, title=_printable(fix.title), body=pull_request_body(verdict, run), head=branch, base=run.head_branch
        )
    except Conflict:
        again = github.pull_requests(run.repository, head=f"{owner}:{branch}")
        if not again:
            raise
        opened = again[0]
    except ServiceError as refused:
        return Publication(
            kind="commit", branch=branch, commit_sha=sha,
            note=f"{refused}. The branch {branch} is pushed; open the pull request from it",
        )  # fmt: skip
    return _published(opened, branch, sha, note)


def _push_branch(repository: Repository, branch: str, sha: str) -> str:
    """Push unless it is there: the name says that it holds this mend of this commit, so an earlier
    attempt was cut off after the push. Returns the branch's commit."""
    there = repository.remote_branch(branch)
    if not there:
        repository.push(branch, sha)
    return there or sha


def _published(opened: PullRequest, branch: str, sha: str, note: str) -> Publication:
    return Publication(kind="pull-request", url=opened.url, branch=branch, commit_sha=sha, note=note)
