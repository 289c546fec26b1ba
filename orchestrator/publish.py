"""Makes a verified change visible, in the way that was asked for or the next best one.

Names come from the fingerprint, so that doing it twice, or again after being killed anywhere,
ends in the same one branch and pull request.
"""

from __future__ import annotations

import hashlib
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
    verdict: Verdict, run: WorkflowRun, mode: Mode, repository: Repository, ports: Ports, *, folder: Path, attempts: int = 1
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
                return _remotely(verdict, run, mode, repository, ports.github, attempts)
            except ServiceError as refused:
                return replace(_patch(verdict, folder), note=f"{refused}. The change is in the patch instead")


def rerun(run: WorkflowRun, github: GitHub | None) -> Publication:
    """Start the failed jobs again; without GitHub, say how a person does."""
    if github is None or not run.repository:
        command = f"gh run rerun {run.run_id} --failed" if run.run_id else "gh run rerun RUN_ID --failed"
        return Publication(kind="none", note=f"re-run the failed jobs: {command}")
    github.rerun_failed_jobs(run.repository, int(run.run_id))
    return Publication(kind="rerun", url=run.html_url, note=f"attempt {run.attempt + 1} of the failed jobs")


def branch_name(issue: WorkflowIssue, run: WorkflowRun, attempt: int = 1) -> str:
    """The one branch for this failure on the branch that failed; a later attempt has its number."""
    unit = hashlib.sha256(f"{issue.fingerprint}\0{run.head_branch}".encode()).hexdigest()[:12]
    return f"{BRANCH_PREFIX}{unit}" + (f"-{attempt}" if attempt > 1 else "")


def commit_message(verdict: Verdict, run: WorkflowRun) -> str:
    """Subject, cause, proof, and the trailers by which we know our own commits."""
    planned = verdict.change.planned
    proof = redact(planned.issue.evidence[0].text.strip())[:200]
    climbed = ", ".join(v.rung for v in verdict.verification if v.passed)
    lines = [
        _printable(planned.fix.title),
        "",
        f"Cause: {_printable(planned.issue.fix_description)}",
        f"Proof: {_printable(proof)}",
        f"Verified: {climbed}",
        "",
        TRAILER,
        f"Orchestrator-Fingerprint: {planned.issue.fingerprint}",
    ]
    if run.html_url:
        lines.append(f"Orchestrator-Run: {run.html_url}")
    return "\n".join(lines) + "\n"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in redact(text))


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
    verdict: Verdict, run: WorkflowRun, mode: Mode, repository: Repository, github: GitHub | None, attempts: int
) -> Publication:
    if github is None or not run.repository:
        raise Unpublished("publishing needs a run on GitHub; use --mode apply, commit or patch")
    issue, fix, message = verdict.change.planned.issue, verdict.change.planned.fix, commit_message(verdict, run)
    note = ""
    if mode is Mode.PUSH:
        if fix.safety is Safety.SAFE:
            branch = branch_name(issue, run)
            sha = repository.commit(verdict.change.files, branch=branch, message=message)
            repository.push(run.head_branch, sha, expect=run.head_sha)
            return Publication(kind="push", branch=run.head_branch, commit_sha=sha)
        note = "a pull request, because this mend wants a person's review"
    owner = run.repository.split("/", 1)[0]
    for attempt in range(1, attempts + 1):
        branch = branch_name(issue, run, attempt)
        known = github.pull_requests(run.repository, head=f"{owner}:{branch}", state="all")
        for one in known:
            if one.state == "open":
                return _published(one, branch, "", "the pull request was open already")
        if known:
            continue  # it was merged or turned down, and the failure is back
        sha = repository.commit(verdict.change.files, branch=branch, message=message)
        there = repository.remote_branch(branch)
        if there and there != sha:
            continue
        if not there:
            repository.push(branch, sha)
        # Otherwise an earlier pass was cut off after its push: the same mend has the same commit.
        if mode is Mode.COMMIT:
            return Publication(kind="commit", branch=branch, commit_sha=sha)
        return _open(verdict, run, github, branch, sha, note)
    raise Unpublished(
        f"the budget of {attempts} attempts at this failure on {run.head_branch} is used up "
        f"(branches {branch_name(issue, run)}…); it needs a person"
    )


def _open(verdict: Verdict, run: WorkflowRun, github: GitHub, branch: str, sha: str, note: str) -> Publication:
    title = _printable(verdict.change.planned.fix.title)
    try:
        opened = github.open_pull_request(
            run.repository, title=title, body=pull_request_body(verdict, run), head=branch, base=run.head_branch
        )
    except ServiceError as refused:
        if isinstance(refused, Conflict):  # another orchestrator was quicker by a moment
            owner = run.repository.split("/", 1)[0]
            for one in github.pull_requests(run.repository, head=f"{owner}:{branch}"):
                return _published(one, branch, sha, "the pull request was open already")
        return Publication(
            kind="commit", branch=branch, commit_sha=sha,
            note=f"{refused}. The branch {branch} is pushed; open the pull request from it",
        )  # fmt: skip
    return _published(opened, branch, sha, note)


def _published(opened: PullRequest, branch: str, sha: str, note: str) -> Publication:
    return Publication(kind="pull-request", url=opened.url, branch=branch, commit_sha=sha, note=note)
