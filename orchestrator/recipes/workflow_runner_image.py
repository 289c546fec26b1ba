"""Replace the label of a runner image that GitHub no longer offers.

Only labels that the rule's table knows are touched, and only where the file shows that they
choose a GitHub-hosted runner: in ``runs-on`` itself, or in the matrix values that feed it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.model import Declined, Fix, Safety, Splice, WorkflowIssue
from orchestrator.ports import Tree
from orchestrator.recipes import Context
from orchestrator.recipes._edit import within
from orchestrator.workflow import candidate_paths
from orchestrator.yamlnode import Route, YamlNode

_MATRIX = re.compile(r"\$\{\{\s*matrix\.([\w.-]+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class _Label:
    """A label that chooses a runner. ``among`` are the values beside it in a matrix."""

    path: str
    route: Route
    node: YamlNode
    among: frozenset[str] = frozenset()


def recipe(issue: WorkflowIssue, context: Context) -> Fix | Declined:
    """Rewrite the named label wherever it chooses a runner in the run's workflow file."""
    table: Mapping[str, Mapping[str, Any]] = context.options["labels"]
    image = "-".join(issue.captures.get("image", "").lower().split())
    gone = {label for label in table if label == image or label.startswith(f"{image}-")}
    if not gone:
        return Declined(reason=f"no successor of the image {image or 'named there'} is known")
    paths = candidate_paths(context.tree, issue, context.run.path)
    found = [label for path in paths for label in _labels(context.tree, path) if label.node.value in gone]
    if not found:
        return Declined(reason=f"no job of the workflow file chooses the label {image} itself")
    splices: list[Splice] = []
    for label in found:
        edit = _edit(label, str(table[label.node.value]["to"]), context.tree)
        if isinstance(edit, Declined):
            return edit
        splices.append(edit)
    compared = next((where for path in paths if (where := _compared(context.tree, path, gone))), "")
    if compared:
        return Declined(reason=f"{compared}: an expression compares the label too, so its steps would change as well")
    labels = sorted({label.node.value for label in found})
    notes = [f"{label}: {table[label]['since']}." for label in labels]
    notes += [str(note) for label in labels if (note := table[label].get("note"))]
    return Fix(
        title="Move " + ", ".join(f"{label} to {table[label]['to']}" for label in labels),
        safety=Safety.REVIEW if any(table[label].get("review") for label in labels) else Safety.SAFE,
        operations=tuple(splices),
        explanation=" ".join(dict.fromkeys(notes)),
    )


def _labels(tree: Tree, path: str) -> Iterator[_Label]:
    root = tree.yaml(path)
    jobs = root.get("jobs") if root else None
    for key, job in jobs.entries if jobs else ():
        runs_on = job.get("runs-on")
        if runs_on is None:
            continue
        route: Route = ("jobs", key.value, "runs-on")
        if runs_on.kind == "sequence" and len(runs_on.items) == 1:
            runs_on, route = runs_on.items[0], (*route, 0)
        if runs_on.kind != "scalar":
            continue  # several labels, or a group: somebody's own runners
        fed = _MATRIX.fullmatch(runs_on.value.strip())
        if fed is None:
            yield _Label(path, route, runs_on)
        elif (matrix := job.at("strategy", "matrix")) is not None:
            yield from _fed(path, ("jobs", key.value, "strategy", "matrix"), matrix, fed[1].split("."))


def _fed(path: str, route: Route, matrix: YamlNode, names: list[str]) -> Iterator[_Label]:
    vector = matrix.get(names[0])
    listed = [(i, item.at(*names[1:])) for i, item in enumerate(vector.items if vector else ())]
    among = frozenset(node.value for _, node in listed if node is not None)
    for index, node in listed:
        if node is not None and node.kind == "scalar":
            yield _Label(path, (*route, names[0], index, *names[1:]), node, among)
    for part in ("include", "exclude"):
        combinations = matrix.get(part)
        for index, item in enumerate(combinations.items if combinations else ()):
            node = item.at(*names)
            if node is not None and node.kind == "scalar":
                yield _Label(path, (*route, part, index, *names), node)


def _edit(label: _Label, target: str, tree: Tree) -> Splice | Declined:
    where = f"{label.path}, line {label.node.line}"
    if target in label.among:
        return Declined(reason=f"{where}: the matrix has {target} already; {label.node.value} can be taken out of it")
    edit = within(label.path, tree.text(label.path) or "", label.node, label.node.value, target, label.route)
    return edit or Declined(reason=f"{where}: the label is written in a way that can't be edited in place")


def _compared(tree: Tree, path: str, labels: set[str]) -> str:
    """Where an expression of the file spells out one of the labels, or an empty string."""
    root = tree.yaml(path)
    for route, value in root.leaves() if root else ():
        if any(f"'{label}'" in value for label in labels):
            node = root.at(*route) if root else None
            return f"{path}, line {node.line if node else 0}"
    return ""
