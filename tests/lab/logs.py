"""Logs in the runner's own format: one job's text, and the zip of a run."""

from __future__ import annotations

import io
import platform
import re
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from .model import Job, log_stamp, new_id

BOM = "\ufeff"
RUNNER_VERSION = "2.336.0"
IMAGE_VERSION = "20261115.42.1"
TOOLS = f"/opt/hostedtoolcache/Python/{platform.python_version()}/x64"
# The runner prints an action's defaults too; for the most used action the lab does the same.
CHECKOUT_INPUTS = {
    "repository": "${{ github.repository }}",
    "token": "***",
    "ssh-strict": True,
    "ssh-user": "git",
    "persist-credentials": True,
    "clean": True,
    "sparse-checkout-cone-mode": True,
    "fetch-depth": 1,
    "fetch-tags": False,
    "show-progress": True,
    "lfs": False,
    "submodules": False,
    "set-safe-directory": True,
}
_SHELLS = {
    "": "/usr/bin/bash -e {0}",
    "bash": "/usr/bin/bash --noprofile --norc -e -o pipefail {0}",
    "sh": "/usr/bin/sh -e {0}",
    "python": "/usr/bin/python {0}",
    "pwsh": "/usr/bin/pwsh -command \". '{0}'\"",
}


def text(lines: Sequence[tuple[int, str]]) -> str:
    """Lines with their times; a message of several lines has one time, as the runner writes it."""
    return BOM + "".join(f"{log_stamp(at)} {line}\n" for at, line in lines)


def job_log(job: Job) -> bytes:
    """The whole log of a job: its steps one after the other."""
    lines = [line for step in job.steps for line in step.lines]
    return text(lines).encode()


def archive(jobs: Sequence[Job], step_files: bool = True) -> bytes:
    """A run's log archive. Some of GitHub's archives have no step files: `step_files=False`."""
    buffer, used = io.BytesIO(), set[str]()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive_file:
        for number, job in enumerate(job for job in jobs if job.has_log):
            name = unique = file_name(job.name)
            while unique in used:
                unique = f"{name} ({len(used)})"
            used.add(unique)
            archive_file.writestr(f"{number}_{unique}.txt", job_log(job))
            for step in job.steps if step_files else ():
                if step.lines:
                    archive_file.writestr(f"{unique}/{step.number}_{file_name(step.name)}.txt", text(step.lines))
            archive_file.writestr(f"{unique}/system.txt", text(job.system))
    return buffer.getvalue()


def file_name(name: str) -> str:
    """A job's or step's name in the archive: no path characters, at most 90 UTF-16 units."""
    kept = re.sub(r'[/:<>"|?*\\]', "", name)
    return kept.encode("utf-16-le")[:180].decode("utf-16-le", errors="ignore").strip()


def system(job: Job, repository: str, workflow: str, ref: str) -> list[str]:
    return [
        f"Requested labels: {', '.join(job.labels)}",
        f"Job defined at: {repository}/{workflow}@{ref}",
        "Waiting for a runner to pick up this job...",
        "Job is waiting for a hosted runner to come online.",
        f"Job is about to start running on the hosted runner: GitHub Actions {1000000 + job.id % 97}",
    ]


def set_up(
    permissions: Mapping[str, str], actions: Sequence[str], job_name: str, failures: Sequence[str] = ()
) -> list[str]:
    """The text of "Set up job"."""
    lines = [
        f"Current runner version: '{RUNNER_VERSION}'",
        "##[group]Runner Image Provisioner",
        "Hosted Compute Agent",
        "##[endgroup]",
        "##[group]Operating System",
        "Ubuntu",
        "24.04.3",
        "LTS",
        "##[endgroup]",
        "##[group]Runner Image",
        "Image: ubuntu-24.04",
        f"Version: {IMAGE_VERSION}",
        "Included Software: https://github.com/actions/runner-images/blob/ubuntu24/20261115.42/images/ubuntu/Ubuntu2404-Readme.md",
        "Image Release: https://github.com/actions/runner-images/releases/tag/ubuntu24%2F20261115.42",
        "##[endgroup]",
        "##[group]GITHUB_TOKEN Permissions",
        *(f"{_title(scope)}: {level}" for scope, level in sorted(permissions.items())),
        "##[endgroup]",
        "Secret source: Actions",
        "Prepare workflow directory",
        "Prepare all required actions",
    ]
    if actions:
        lines.append("Getting action download info")
    lines += [f"##[error]{message}" for message in failures]
    if not failures:
        for action in dict.fromkeys(actions):
            lines.append(
                f"Download action repository '{action}' (SHA:{uuid.uuid5(uuid.NAMESPACE_URL, action).hex + '0' * 8})"
            )
        lines.append(f"Complete job name: {job_name}")
    return lines


def _title(scope: str) -> str:
    return "".join(part.capitalize() for part in scope.split("_"))


def run_header(script: str, shell: str | None, environment: Mapping[str, Any]) -> list[str]:
    """What the runner prints before a script: its source in cyan, its shell, its environment."""
    source = script.strip("\n").split("\n")
    first = next((line.strip() for line in source if line.strip()), "")
    return [
        f"##[group]Run {first}",
        *(f"\x1b[36;1m{line}\x1b[0m" for line in source),
        f"shell: {_SHELLS.get(shell or '', shell)}",
        *_environment(environment),
        "##[endgroup]",
    ]


def uses_header(uses: str, inputs: Mapping[str, Any], environment: Mapping[str, Any]) -> list[str]:
    given = ["with:", *(f"  {key}: {scalar(value)}" for key, value in inputs.items())] if inputs else []
    return [f"##[group]Run {uses}", *given, *_environment(environment), "##[endgroup]"]


def scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _environment(environment: Mapping[str, Any]) -> list[str]:
    return ["env:", *(f"  {key}: {scalar(value)}" for key, value in environment.items())] if environment else []


def checkout(repository: str, ref: str, sha: str, message: str) -> list[str]:
    """A shortened form of what actions/checkout prints; act itself prints nothing for it."""
    work = "/home/runner/work/" + "/".join([repository.split("/")[1]] * 2)
    return [
        f"Syncing repository: {repository}",
        "##[group]Getting Git version info",
        f"Working directory is '{work}'",
        "[command]/usr/bin/git version",
        "git version 2.51.2",
        "##[endgroup]",
        f"Deleting the contents of '{work}'",
        "##[group]Initializing the repository",
        f"[command]/usr/bin/git init {work}",
        f"Initialized empty Git repository in {work}/.git/",
        "##[endgroup]",
        "##[group]Fetching the repository",
        (
            "[command]/usr/bin/git -c protocol.version=2 fetch --no-tags --prune --no-recurse-submodules --depth=1 "
            f"origin +{sha}:{ref.replace('refs/heads/', 'refs/remotes/origin/')}"
        ),
        "##[endgroup]",
        "##[group]Checking out the ref",
        f"HEAD is now at {sha[:7]} {message.splitlines()[0]}",
        "##[endgroup]",
        "[command]/usr/bin/git log -1 --format=%H",
        sha,
    ]


def script_path() -> str:
    return f"/home/runner/work/_temp/{uuid.uuid5(uuid.NAMESPACE_OID, str(new_id()))}.sh"
