"""The REST operations of GitHub Actions: runs, attempts, jobs, logs, workflows, re-runs."""

from __future__ import annotations

from . import logs
from .model import Job, Run, stamp
from .service import Answer, Call, Refusal, not_found, route

RUNS = "R/actions/runs"
_RERUN_LIMIT = 50
_CONCLUSIONS = {"action_required", "cancelled", "failure", "neutral", "skipped", "stale", "success", "timed_out"}


def _run(call: Call) -> Run:
    number = call.number("run_id")
    for run in call.repository.runs:
        if run.id == number:
            return run
    raise not_found()


def _attempt(call: Call, run: Run) -> int:
    number = call.number("attempt_number")
    if not 1 <= number <= run.attempt:
        raise not_found()
    return number


def _job(call: Call) -> tuple[Run, Job]:
    number = call.number("job_id")
    for run in call.repository.runs:
        for attempt in run.attempts:
            for job in attempt.jobs:
                if job.id == number:
                    return run, job
    raise not_found()


def _listed(call: Call, runs: list[Run]) -> Answer:
    query = call.query
    status = query.get("status")
    chosen = [
        run
        for run in sorted(runs, key=lambda r: r.id, reverse=True)
        if (not status or (run.conclusion if status in _CONCLUSIONS else run.status) == status)
        and query.get("branch", run.head_branch) == run.head_branch
        and query.get("event", run.event) == run.event
        and query.get("actor", run.actor) == run.actor
        and query.get("head_sha", run.head_sha) == run.head_sha
        and _created(query.get("created", ""), stamp(run.created_at) or "")
    ]
    return call.page(chosen, call.shapes.run, "workflow_runs")


def _created(wanted: str, created: str) -> bool:
    """GitHub's date filter: `>=2026-01-01`, `2026-01-01..2026-02-01`, a day."""
    for operator, holds in (
        (">=", created >= wanted[2:]),
        ("<=", created <= wanted[2:] + "~"),
        (">", created > wanted[1:]),
        ("<", created < wanted[1:]),
    ):
        if wanted.startswith(operator):
            return holds
    low, dots, high = wanted.partition("..")
    if dots:
        return low in ("", "*") or created >= low and (high in ("", "*") or created <= high + "~")
    return created.startswith(wanted)


@route("GET", RUNS, "actions:read")
def list_runs(call: Call) -> Answer:
    return _listed(call, call.repository.runs)


@route("GET", RUNS + "/{run_id}", "actions:read")
def get_run(call: Call) -> Answer:
    return Answer(200, call.shapes.run(_run(call)))


@route("GET", RUNS + "/{run_id}/attempts/{attempt_number}", "actions:read")
def get_attempt(call: Call) -> Answer:
    run = _run(call)
    return Answer(200, call.shapes.run(run, _attempt(call, run)))


@route("GET", RUNS + "/{run_id}/jobs", "actions:read")
def list_jobs(call: Call) -> Answer:
    run = _run(call)
    attempts = run.attempts if call.query.get("filter") == "all" else [run.latest]
    jobs = list({job.id: job for attempt in attempts for job in attempt.jobs}.values())
    return call.page(jobs, lambda job: call.shapes.job(run, job), "jobs")


@route("GET", RUNS + "/{run_id}/attempts/{attempt_number}/jobs", "actions:read")
def list_attempt_jobs(call: Call) -> Answer:
    run = _run(call)
    jobs = run.attempts[_attempt(call, run) - 1].jobs
    return call.page(jobs, lambda job: call.shapes.job(run, job), "jobs")


@route("GET", "R/actions/jobs/{job_id}", "actions:read")
def get_job(call: Call) -> Answer:
    return Answer(200, call.shapes.job(*_job(call)))


def _redirect(call: Call, data: bytes, kind: str) -> Answer:
    return Answer(302, None, {"Location": call.lab.publish_blob(data, kind)})


def _run_logs(call: Call, run: Run, number: int) -> Answer:
    attempt = run.attempts[number - 1]
    if run.logs_expired:
        raise Refusal(410, "Server Error: the logs have expired and are no longer available.")
    if attempt.status != "completed" or not any(job.has_log for job in attempt.jobs):
        raise not_found()
    return _redirect(call, logs.archive(attempt.jobs, call.lab.step_files), "application/zip")


@route("GET", RUNS + "/{run_id}/logs", "actions:read")
def run_logs(call: Call) -> Answer:
    run = _run(call)
    return _run_logs(call, run, run.attempt)


@route("GET", RUNS + "/{run_id}/attempts/{attempt_number}/logs", "actions:read")
def attempt_logs(call: Call) -> Answer:
    run = _run(call)
    return _run_logs(call, run, _attempt(call, run))


@route("GET", "R/actions/jobs/{job_id}/logs", "actions:read")
def job_logs(call: Call) -> Answer:
    run, job = _job(call)
    if run.logs_expired:
        raise Refusal(410, "Server Error: the logs have expired and are no longer available.")
    if not job.has_log or job.status != "completed":
        raise not_found()
    return _redirect(call, logs.job_log(job), "text/plain")


@route("GET", "R/check-runs/{check_run_id}/annotations", "checks:read")
def annotations(call: Call) -> Answer:
    call.parameters["job_id"] = call.parameters["check_run_id"]
    run, job = _job(call)
    return call.page(job.annotations, lambda note: call.shapes.annotation(run, note))


@route("GET", RUNS + "/{run_id}/artifacts", "actions:read")
def artifacts(call: Call) -> Answer:
    _run(call)
    return call.page([], lambda item: item, "artifacts")


def _rerun(call: Call, run: Run, only: set[str] | None) -> Answer:
    if run.status != "completed":
        raise Refusal(403, "The workflow run containing this job is already running")
    if run.attempt > _RERUN_LIMIT:
        raise Refusal(403, f"Unable to retry this workflow run because it has been retried {_RERUN_LIMIT} times")
    if run.conclusion == "startup_failure":
        raise Refusal(403, "This workflow run cannot be retried")
    call.lab.rerun(run, only, call.token.login)
    return Answer(201, {})


def _with_dependents(call: Call, run: Run, keys: set[str]) -> set[str]:
    return call.lab.dependents(run, keys) | keys


@route("POST", RUNS + "/{run_id}/rerun", "actions:write")
def rerun(call: Call) -> Answer:
    return _rerun(call, _run(call), None)


@route("POST", RUNS + "/{run_id}/rerun-failed-jobs", "actions:write")
def rerun_failed(call: Call) -> Answer:
    run = _run(call)
    failed = {job.key for job in run.jobs if job.conclusion in ("failure", "cancelled", "timed_out")}
    if run.status == "completed" and not failed:
        raise Refusal(403, "This workflow run has no failed jobs to re-run")
    return _rerun(call, run, _with_dependents(call, run, failed))


@route("POST", "R/actions/jobs/{job_id}/rerun", "actions:write")
def rerun_job(call: Call) -> Answer:
    run, job = _job(call)
    return _rerun(call, run, _with_dependents(call, run, {job.key}))


@route("POST", RUNS + "/{run_id}/approve", "actions:write")
def approve(call: Call) -> Answer:
    run = _run(call)
    if run.conclusion != "action_required":
        raise Refusal(403, "This run is not waiting for approval")
    call.lab.approve(run)
    return Answer(201, {})


@route("GET", "R/actions/workflows", "actions:read")
def workflows(call: Call) -> Answer:
    found = call.lab.workflows(call.repository)
    return call.page(found, lambda workflow: call.shapes.workflow(call.repository, workflow), "workflows")


def _workflow(call: Call):  # type: ignore[no-untyped-def]
    wanted = call.parameters["workflow_id"]
    for workflow in call.lab.workflows(call.repository):
        if wanted in (str(workflow.id), workflow.path.rsplit("/", 1)[-1], workflow.path):
            return workflow
    raise not_found()


@route("GET", "R/actions/workflows/{workflow_id}", "actions:read")
def workflow(call: Call) -> Answer:
    return Answer(200, call.shapes.workflow(call.repository, _workflow(call)))


@route("GET", "R/actions/workflows/{workflow_id}/runs", "actions:read")
def workflow_runs(call: Call) -> Answer:
    found = _workflow(call)
    return _listed(call, [run for run in call.repository.runs if run.workflow is found])


@route("POST", "R/actions/workflows/{workflow_id}/dispatches", "actions:write")
def dispatch(call: Call) -> Answer:
    found = _workflow(call)
    if "ref" not in call.body:
        raise Refusal(422, 'Invalid request.\n\n"ref" wasn\'t supplied.')
    ref = str(call.body["ref"])
    run = call.lab.dispatch(call.repository, found.path, ref, call.body.get("inputs") or {}, actor=call.token.login)
    if run is None:
        raise Refusal(422, "Workflow does not have 'workflow_dispatch' trigger")
    if call.body.get("return_run_details"):
        shape = call.shapes.run(run)
        return Answer(200, {"workflow_run_id": run.id, "run_url": shape["url"], "html_url": shape["html_url"]})
    return Answer(204)
