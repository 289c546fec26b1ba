"""Workflow files as the recipes and the replay see them: jobs, steps, and which one failed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.model import WorkflowIssue
from orchestrator.ports import Tree
from orchestrator.yamlnode import YamlNode

FOLDER = ".github/workflows/"
LOCKFILE = ".github/workflows/actions.lock"

_EXPRESSION = re.compile(r"\$\{\{.*?\}\}", re.DOTALL)
_MATRIX_SUFFIX = re.compile(r" \(.*\)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNode:
    """A step, with everything around it that is needed to understand it."""

    path: str
    root: YamlNode
    job_id: str
    job: YamlNode
    index: int
    node: YamlNode

    @property
    def steps(self) -> tuple[YamlNode, ...]:
        """All steps of the job."""
        steps = self.job.get("steps")
        return steps.items if steps else ()


def workflow_paths(tree: Tree) -> list[str]:
    """The repository's workflow files."""
    return [
        path
        for path in tree.paths()
        if path.startswith(FOLDER) and path.count("/") == 2 and path.endswith((".yml", ".yaml"))
    ]


def steps(tree: Tree, path: str) -> Iterator[StepNode]:
    """Every step of every job of one workflow file; nothing when it does not parse."""
    root = tree.yaml(path)
    jobs = root.get("jobs") if root else None
    if root is None or jobs is None:
        return
    for key, job in jobs.entries:
        listed = job.get("steps")
        for index, node in enumerate(listed.items if listed else ()):
            yield StepNode(path=path, root=root, job_id=key.value, job=job, index=index, node=node)


def candidate_paths(tree: Tree, issue: WorkflowIssue, path: str = "") -> list[str]:
    """The workflow files that the issue can be about, the run's own if it is known."""
    known = path.split("@", 1)[0]
    paths = workflow_paths(tree)
    if known:
        return [known] if known in paths else []
    named = [p for p in paths if _workflow_name(tree, p) == issue.workflow_name]
    return named if issue.workflow_name and named else paths


def _workflow_name(tree: Tree, path: str) -> str:
    root = tree.yaml(path)
    return (root.text("name") if root else "") or path


def job_matches(step: StepNode, job_name: str) -> bool:
    """Whether the name shown in the API or the log can be this job's."""
    shown = step.job.text("name") or step.job_id
    if _EXPRESSION.search(shown):
        return fits(shown, job_name)
    return job_name in {shown, step.job_id} or _MATRIX_SUFFIX.sub("", job_name) in {shown, step.job_id}


def locate(tree: Tree, issue: WorkflowIssue, path: str = "") -> StepNode | None:
    """The step whose script the log shows as failed, or ``None`` when none or several fit."""
    script = issue.command.strip()
    if not script:
        return None
    found = [
        step
        for candidate in candidate_paths(tree, issue, path)
        for step in steps(tree, candidate)
        if step.node.text("run") and fits(step.node.text("run").strip(), script)
    ]
    if len(found) > 1:
        found = [step for step in found if job_matches(step, issue.job_name)] or found
    return found[0] if len(found) == 1 else None


def fits(template: str, text: str) -> bool:
    """Whether the text is the template's, with every ``${{ }}`` standing for anything. Linear."""
    first, *rest = _EXPRESSION.split(template)
    if not rest:
        return text == template
    *middle, last = rest
    end = len(text) - len(last)
    at = len(first)
    if at > end or not text.startswith(first) or not text.endswith(last):
        return False
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
