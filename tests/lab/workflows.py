"""Workflow files as GitHub's service sees them: triggers, permissions, what it refuses itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from .model import normal_permissions

SCOPES = (
    "actions",
    "attestations",
    "checks",
    "contents",
    "deployments",
    "discussions",
    "issues",
    "packages",
    "pages",
    "pull_requests",
    "repository_projects",
    "security_events",
    "statuses",
)
# The newest major of each action that exists on GitHub, where a lab workflow may use it.
MAJORS = {
    "actions/checkout": 7,
    "actions/setup-python": 7,
    "actions/setup-node": 7,
    "actions/upload-artifact": 7,
    "actions/download-artifact": 8,
    "actions/cache": 5,
    "actions/create-github-app-token": 3,
}
OUR_ACTION = "mcp-orchestrator/mcp-orchestrator"
HOSTED_LABELS = {"ubuntu-latest", "ubuntu-24.04", "ubuntu-22.04", "ubuntu-26.04", "ubuntu-slim"}
_IMAGES = "https://github.com/actions/runner-images/issues"
RETIRED_LABELS = {
    "ubuntu-18.04": ("The Ubuntu-18.04 based runner images are now retired.", 6002),
    "ubuntu-20.04": ("The Ubuntu-20.04 based runner images are now retired.", 11101),
    "windows-2019": ("The Windows-2019 based runner images are now retired.", 12045),
    "macos-12": ("The macOS-12 based runner images are now retired.", 10721),
    "macos-13": ("The macOS-13 based runner images are now retired.", 13046),
    "macos-14": ("The macOS-14 based runner images are now retired.", 13518),
}
_BLOG = "https://github.blog/changelog"
_ARTIFACT_OLD = f"{_BLOG}/2024-02-13-deprecation-notice-v1-and-v2-of-the-artifact-actions/"
_ARTIFACT_V3 = f"{_BLOG}/2024-04-16-deprecation-notice-v3-of-the-artifact-actions/"
_CACHE = f"{_BLOG}/2024-12-05-notice-of-upcoming-releases-and-breaking-changes-for-github-actions/"


def load(text: str) -> Any:
    """A workflow file's content under YAML 1.2, where `on` is a word. Raises YAMLError."""
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 2)
    return yaml.load(text)


def try_load(text: str) -> dict[str, Any] | None:
    try:
        document = load(text)
    except (YAMLError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def triggers(document: Mapping[str, Any]) -> dict[str, Any]:
    """The events of `on:`, each with its filters."""
    on = document.get("on") or {}
    if isinstance(on, str):
        return {on: {}}
    if isinstance(on, list):
        return {event: {} for event in on}
    return {event: config or {} for event, config in on.items()}


def _pattern(glob: str) -> re.Pattern[str]:
    out = ""
    for token in re.findall(r"\*\*/|\*\*|\*|\?|\+|\[[^]]*\]|.", glob, re.DOTALL):
        out += {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "?", "+": "+"}.get(token) or (
            token if token.startswith("[") else re.escape(token)
        )
    return re.compile(out)


def _selected(patterns: Iterable[str], value: str) -> bool:
    chosen = False
    for pattern in patterns:
        negative = pattern.startswith("!")
        if _pattern(pattern.lstrip("!")).fullmatch(value):
            chosen = not negative
    return chosen


def as_list(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def matches(
    event: str,
    config: Mapping[str, Any],
    *,
    branch: str | None = None,
    tag: str | None = None,
    paths: Iterable[str] = (),
    action: str | None = None,
    workflow: str | None = None,
) -> bool:
    """Whether an event passes a trigger's filters."""
    default_types = {"pull_request": ["opened", "synchronize", "reopened"], "workflow_run": ["completed", "requested"]}
    if action and action not in as_list(config.get("types", default_types.get(event, [action]))):
        return False
    if workflow is not None and workflow not in as_list(config.get("workflows", [])):
        return False
    if tag is not None:
        if "tags" in config:
            return _selected(as_list(config["tags"]), tag)
        return "branches" not in config and not _selected(as_list(config.get("tags-ignore", [])), tag)
    if branch is not None:
        if "branches" in config and not _selected(as_list(config["branches"]), branch):
            return False
        if "branches-ignore" in config and _selected(as_list(config["branches-ignore"]), branch):
            return False
        if event == "push" and ("tags" in config or "tags-ignore" in config) and "branches" not in config:
            return False
    changed = list(paths)
    if "paths" in config and not any(_selected(as_list(config["paths"]), path) for path in changed):
        return False
    return not (
        "paths-ignore" in config
        and changed
        and all(_selected(as_list(config["paths-ignore"]), path) for path in changed)
    )


def permissions(document: Mapping[str, Any], job: Mapping[str, Any], default: Mapping[str, str]) -> dict[str, str]:
    """What the token of a job may do: the job's key, else the workflow's, else the default."""
    wanted = job.get("permissions", document.get("permissions"))
    if wanted is None:
        return normal_permissions(dict(default))
    if wanted in ("read-all", "write-all"):
        return normal_permissions({scope: wanted.split("-")[0] for scope in SCOPES})
    return normal_permissions({key: value for key, value in (wanted or {}).items() if value != "none"})


def labels(job: Mapping[str, Any]) -> list[str]:
    wanted = job.get("runs-on", "ubuntu-latest")
    return as_list(wanted.get("labels", []) if isinstance(wanted, dict) else wanted)


def remote_actions(job: Mapping[str, Any]) -> list[str]:
    """Every `owner/repo@ref` the job's steps use."""
    used = [str(step["uses"]) for step in job.get("steps") or [] if isinstance(step, dict) and "uses" in step]
    return [use for use in used if not use.startswith((".", "docker://"))]


@dataclass
class ServiceRefusal:
    """A job that fails before a step of it runs. Without a runner there is no log, only an annotation."""

    messages: list[str]
    runner: bool
    conclusion: str = "failure"


def refusal(job: Mapping[str, Any]) -> ServiceRefusal | None:
    """Why GitHub's service would not let this job start, in its own words."""
    wanted = labels(job)
    for label in wanted:
        if label.removesuffix("-large").removesuffix("-xlarge") in RETIRED_LABELS:
            text, number = RETIRED_LABELS[label.removesuffix("-large").removesuffix("-xlarge")]
            return ServiceRefusal([f"{text} For more details, see {_IMAGES}/{number}."], runner=False)
    if not set(wanted) <= HOSTED_LABELS and "${{" not in "".join(wanted):
        # No runner has the label: on GitHub the job waits for a day and is then cancelled.
        return ServiceRefusal([], runner=False, conclusion="cancelled")
    deprecated = [text for use in remote_actions(job) if (text := _deprecated(use))]
    if deprecated:
        return ServiceRefusal([" ".join(deprecated)], runner=True)
    missing = [text for use in remote_actions(job) if (text := _unresolvable(use))]
    return ServiceRefusal(missing, runner=True) if missing else None


def _deprecated(use: str) -> str | None:
    name, _, ref = use.partition("@")
    major = re.match(r"v(\d+)", ref)
    if not major:
        return None
    number = int(major[1])
    start = f"This request has been automatically failed because it uses a deprecated version of `{name}: {ref}`."
    if name in ("actions/upload-artifact", "actions/download-artifact") and number <= 3:
        return f"{start} Learn more: {_ARTIFACT_V3 if number == 3 else _ARTIFACT_OLD}"
    if name == "actions/cache" and number <= 2:
        return (
            f"{start} Please update your workflow to use v3/v4 of actions/cache to avoid interruptions. "
            f"Learn more: {_CACHE}"
        )
    return None


def _unresolvable(use: str) -> str | None:
    name, _, ref = use.partition("@")
    repository = "/".join(name.split("/")[:2])
    if repository == OUR_ACTION:
        return None
    if repository not in MAJORS:
        return f"Unable to resolve action {repository}, repository not found"
    major = re.fullmatch(r"v(\d+)(?:\.\d+){0,2}", ref)
    known = re.fullmatch(r"[0-9a-f]{40}", ref) or ref == "main" or (major and 1 <= int(major[1]) <= MAJORS[repository])
    return None if known else f"Unable to resolve action `{use}`, unable to find version `{ref}`"
