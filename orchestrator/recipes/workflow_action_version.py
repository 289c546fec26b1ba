"""Move an action that GitHub has switched off to a version that still runs.

The rule's options hold, for each action, the majors that are gone and the one to move to. All of
them that the workflow file uses are moved at once: GitHub refuses a job for any of them, and the
two artifact actions only understand each other at the same generation.
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
from orchestrator.workflow import LOCKFILE, StepNode, candidate_paths, steps
from orchestrator.yamlnode import YamlNode

_NAMED = re.compile(r"deprecated version of `([\w.-]+/[\w./-]+): ")
_USES = re.compile(r"(?P<action>[\w.-]+/[\w./-]+)@(?P<ref>\S+)")
_MAJOR = re.compile(r"v?(\d+)(?:\.\d+)*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_COMMENT = re.compile(r"[ \t]*#\s*(?:tag=)?v?(\d+)")
_HIDDEN = re.compile(r"(?:^|/)\.[^./]")


@dataclass(frozen=True, slots=True)
class _Use:
    """One ``uses:`` in a workflow file. ``major`` is empty when the reference doesn't tell it."""

    step: StepNode
    node: YamlNode
    action: str
    ref: str
    major: str

    @property
    def pinned(self) -> bool:
        return _COMMIT.fullmatch(self.ref) is not None


def recipe(issue: WorkflowIssue, context: Context) -> Fix | Declined:
    """Rewrite every ``uses:`` of a removed version in the run's workflow file."""
    table: Mapping[str, Mapping[str, Any]] = context.options["actions"]
    named = set(_NAMED.findall(issue.evidence[0].text)) | {issue.captures.get("action", "")}
    refused = f"{issue.captures.get('action')}@{issue.captures.get('version')}"
    paths = candidate_paths(context.tree, issue, context.run.path)
    removed = [
        use for path in paths for use in _uses(context.tree, path)
        if _is_removed(use, table) or f"{use.action}@{use.ref}" == refused
    ]  # fmt: skip
    if not any(use.action in named for use in removed):
        return Declined(reason=_elsewhere(context.tree, named, paths))
    collision = _collision(removed)
    if collision:
        return Declined(
            reason=f"{collision}, which later versions refuse: give each upload a name of its own, "
            "and download them with `pattern` and `merge-multiple: true`"
        )
    splices: list[Splice] = []
    for use in removed:
        edit = _edit(use, table, context.tree)
        if isinstance(edit, Declined):
            return edit
        splices.append(edit)
    notes = [note for action in sorted({u.action for u in removed}) if (note := table[action].get("note"))]
    hazards = _hazards(removed)
    targets = ", ".join(f"{a} to v{table[a]['target']}" for a in sorted({u.action for u in removed}))
    return Fix(
        title=f"Move {targets}",
        safety=Safety.REVIEW if hazards or any(table[u.action].get("review") for u in removed) else Safety.SAFE,
        operations=tuple(splices),
        explanation=" ".join([*notes, *hazards]),
    )


def _uses(tree: Tree, path: str) -> Iterator[_Use]:
    text = tree.text(path) or ""
    for step in steps(tree, path):
        node = step.node.get("uses")
        found = _USES.fullmatch(node.value) if node is not None else None
        if node is None or found is None:
            continue
        told = _MAJOR.fullmatch(found["ref"]) or _COMMENT.match(text, node.end)
        yield _Use(step, node, found["action"], found["ref"], told[1] if told else "")


def _is_removed(use: _Use, table: Mapping[str, Mapping[str, Any]]) -> bool:
    entry = table.get(use.action)
    return entry is not None and use.major.isdigit() and int(use.major) in entry["removed"]


def _edit(use: _Use, table: Mapping[str, Mapping[str, Any]], tree: Tree) -> Splice | Declined:
    where = f"{use.step.path}, line {use.node.line}"
    entry = table.get(use.action)
    if entry is None:
        return Declined(reason=f"{where}: no replacement for {use.action}@{use.ref} is known")
    if use.pinned:
        return Declined(
            reason=f"{where}: {use.action} is pinned to a commit; pin it to the commit of v{entry['target']} instead"
        )
    if use.step.path.rsplit("/", 1)[-1] in (tree.text(LOCKFILE) or ""):
        return Declined(reason=f"{use.step.path} is locked in {LOCKFILE}; change the version, then run gh actions-lock")
    ref = _moved(use.ref, entry)
    if not ref:
        return Declined(reason=f"{where}: no exact version to replace {use.action}@{use.ref} is known")
    route = ("jobs", use.step.job_id, "steps", use.step.index, "uses")
    old, new = f"{use.action}@{use.ref}", f"{use.action}@{ref}"
    edit = within(use.step.path, tree.text(use.step.path) or "", use.node, old, new, route)
    return edit or Declined(reason=f"{where}: the reference is written in a way that can't be edited in place")


def _moved(ref: str, entry: Mapping[str, Any]) -> str:
    """The new reference in the old one's style: ``v3`` stays short, ``v3.1.2`` stays exact."""
    prefix = "v" if ref.startswith("v") else ""
    if "." not in ref:
        return f"{prefix}{entry['target']}"
    return f"{prefix}{entry['exact']}" if "exact" in entry and ref.count(".") == 2 else ""


def _elsewhere(tree: Tree, named: set[str], paths: list[str]) -> str:
    wanted = " and ".join(sorted(filter(None, named)))
    for path in tree.paths():
        text = (tree.text(path) or "") if path.rsplit("/", 1)[-1] in {"action.yml", "action.yaml"} else ""
        if any(f"{action}@" in text for action in named if action):
            return f"{wanted} is used by the composite action {path}, not by the workflow itself"
    where = paths[0] if len(paths) == 1 else "no workflow file"
    subject = f"{where} does not use" if len(paths) == 1 else "no workflow file uses"
    return f"{subject} {wanted} at that version; an action that the workflow uses must bring it along"


def _uploads(uses: list[_Use]) -> Iterator[tuple[_Use, str]]:
    """Every upload with the name of its artifact."""
    for use in uses:
        if use.action == "actions/upload-artifact":
            options = use.step.node.get("with")
            yield use, (options.text("name") if options else "") or "artifact"


def _collision(uses: list[_Use]) -> str:
    """An artifact that is surely uploaded twice under one name, which version 4 and later refuse."""
    seen: set[tuple[str, str]] = set()
    for use, name in _uploads(uses):
        if use.step.node.get("if") is not None:
            continue
        if use.step.job.at("strategy", "matrix") is not None and "matrix." not in name:
            return f"every job of the matrix {use.step.job_id} uploads {name!r}"
        if (use.step.path, name) in seen:
            return f"{name!r} is uploaded more than once"
        seen.add((use.step.path, name))
    return ""


def _hazards(uses: list[_Use]) -> list[str]:
    """What may be missing from an artifact of version 4 or later."""
    hazards = []
    for use, name in _uploads(uses):
        paths = use.step.node.text("with", "path").splitlines()
        if any(_HIDDEN.search(line.strip()) for line in paths):
            hazards.append(f"{name!r} holds hidden files, which since v4 need `include-hidden-files: true`.")
        if use.step.job.at("strategy", "matrix") is not None and "matrix." not in name:
            hazards.append(f"Jobs of a matrix upload {name!r}; since v4 each needs a name of its own.")
    return list(dict.fromkeys(hazards))
