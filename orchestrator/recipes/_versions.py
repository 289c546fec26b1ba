"""At which version a repository pins a tool. Only exact pins count; two that differ are none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from orchestrator.model import Declined
from orchestrator.ports import Tree
from orchestrator.recipes._data import json_object, table, toml
from orchestrator.recipes._requirements import REQUIREMENTS_FILE
from orchestrator.recipes._shell import commands
from orchestrator.workflow import StepNode

_EXACT = re.compile(r"[=^~]{0,3}v?(\d+(?:\.\d+)+)")
_PIN = re.compile(r"={2,3}\s*v?(\d+(?:\.\d+)+)$")
_PRE_COMMIT = {"ruff": "/ruff-pre-commit", "black": "/black", "prettier": "/mirrors-prettier"}


def pinned(tree: Tree, tool: str, step: StepNode) -> str | Declined:
    """The version in the job's own commands, else in the repository's manifests and locks."""
    sources = (_in_job(step, tool), _in_locks(tree, tool), _in_manifests(tree, tool), _in_hooks(tree, tool))
    for source in sources:
        versions = set(source)
        if len(versions) > 1:
            return Declined(reason=f"{tool} is pinned at more than one version ({', '.join(sorted(versions))})")
        if versions:
            return versions.pop()
    return Declined(reason=f"the repository does not pin {tool}, so another version could format differently")


def _in_job(step: StepNode, tool: str) -> Iterator[str]:
    named = re.compile(rf"{re.escape(tool)}(?:\[[\w,]+\])?(?:==|@)v?(\d+(?:\.\d+)+)$")
    for node in step.steps[: step.index + 1]:
        for words in commands(node.text("run")):
            yield from (found[1] for word in words if (found := named.fullmatch(word)))


def _in_locks(tree: Tree, tool: str) -> Iterator[str]:
    for path in tree.paths():
        name = path.rsplit("/", 1)[-1]
        if name in {"uv.lock", "poetry.lock", "pdm.lock"}:
            for package in toml(tree, path).get("package", ()):
                if canonicalize_name(str(package.get("name", ""))) == canonicalize_name(tool):
                    yield str(package.get("version", ""))
        elif name == "package-lock.json":
            entry = table(json_object(tree, path), "packages", f"node_modules/{tool}")
            yield from filter(None, [str(entry.get("version", ""))])


def _in_manifests(tree: Tree, tool: str) -> Iterator[str]:
    for path in tree.paths():
        name = path.rsplit("/", 1)[-1]
        if REQUIREMENTS_FILE.search(path) or name == "constraints.txt":
            yield from _pins((tree.text(path) or "").splitlines(), tool)
        elif name == "pyproject.toml":
            yield from _in_pyproject(toml(tree, path), tool)
        elif name == "package.json":
            data = json_object(tree, path)
            for group in ("devDependencies", "dependencies"):
                version = str(table(data, group).get(tool, ""))
                yield from filter(None, [version if re.fullmatch(r"\d+\.\d+\.\d+", version) else ""])


def _in_pyproject(data: Mapping[str, Any], tool: str) -> Iterator[str]:
    groups = [table(data, "project").get("dependencies", [])]
    groups += table(data, "project", "optional-dependencies").values()
    groups += table(data, "dependency-groups").values()
    for group in groups:
        yield from _pins((item for item in group if isinstance(item, str)), tool)
    required = _PIN.fullmatch(str(table(data, "tool", tool).get("required-version", "")).strip())
    if required:
        yield required[1]
    poetry = table(data, "tool", "poetry")
    for place in (poetry, *table(poetry, "group").values()):
        for key in ("dependencies", "dev-dependencies"):
            version = str(table(place, key).get(tool, ""))
            if re.fullmatch(r"(?:==)?\d+(?:\.\d+)+", version):
                yield version.removeprefix("==")


def _pins(lines: Iterable[str], tool: str) -> Iterator[str]:
    for line in lines:
        try:
            requirement = Requirement(line.split(" #")[0].split(" --")[0].strip())
        except InvalidRequirement:
            continue
        found = _PIN.fullmatch(str(requirement.specifier))
        if canonicalize_name(requirement.name) == canonicalize_name(tool) and found:
            yield found[1]


def _in_hooks(tree: Tree, tool: str) -> Iterator[str]:
    root = tree.yaml(".pre-commit-config.yaml")
    repos = root.get("repos") if root else None
    for repo in repos.items if repos else ():
        if repo.text("repo").removesuffix(".git").endswith((_PRE_COMMIT.get(tool, "\0"), f"/{tool}-pre-commit-mirror")):
            found = _EXACT.fullmatch(repo.text("rev"))
            yield from filter(None, [found[1] if found else ""])
