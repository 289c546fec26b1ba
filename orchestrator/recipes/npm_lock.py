"""Bring ``package-lock.json`` back in step with ``package.json``, by the npm that the job uses.

Only where the files themselves differ in what the project asks for; a lock file that npm refuses
for another reason was written by another npm, and writing it anew would hide that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.model import Declined, Fix, Safety, ToolCheck, ToolRun, WorkflowIssue
from orchestrator.ports import Tree
from orchestrator.recipes import Context
from orchestrator.recipes._data import join, json_object, table
from orchestrator.recipes._node import node_requirement
from orchestrator.recipes._shell import commands, working_directory
from orchestrator.workflow import StepNode, locate

_LOCKS = ("npm-shrinkwrap.json", "package-lock.json")
_GROUPS = ("dependencies", "devDependencies", "optionalDependencies", "peerDependencies")
_QUIET = ("--ignore-scripts", "--no-audit", "--no-fund")


def recipe(issue: WorkflowIssue, context: Context) -> Fix | Declined:
    """Write the lock file again, and prove it by the check that ``npm ci`` makes."""
    tree = context.tree
    step = locate(tree, issue, context.run.path)
    if step is None:
        return Declined(reason="the failing step was not found in the workflow file")
    folder = _folder(step)
    path = next((p for name in _LOCKS if tree.read(p := join(folder, name)) is not None), "")
    lock = json_object(tree, path)
    if not lock:
        return Declined(reason=f"there is no lock file of npm in {folder!r}")
    apart = sorted(set(_apart(tree, folder, lock)))
    if not apart:
        return Declined(
            reason=f"{path} and package.json ask for the same; the lock file was written by another version of npm"
        )
    runtime = node_requirement(tree, step, folder)
    if isinstance(runtime, Declined):
        return runtime
    legacy = ("--legacy-peer-deps",) if _installs_with(step, "--legacy-peer-deps") else ()
    version = (f"--lockfile-version={lock.get('lockfileVersion', 3)}",)
    install = ("npm", "install", "--package-lock-only", *_QUIET, *version, *_resolved(lock), *legacy)
    check = ("npm", "ci", "--dry-run", *_QUIET, *legacy)
    return Fix(
        title=f"Bring {path} in step with package.json",
        safety=Safety.SAFE,
        operations=(ToolRun(requirement=runtime, argv=install, claims=(path,), cwd=folder, network=True),),
        checks=(ToolCheck(requirement=runtime, argv=check, cwd=folder, network=True),),
        explanation=f"Out of step: {', '.join(apart[:10])}{' …' if len(apart) > 10 else ''}.",
    )


def _folder(step: StepNode) -> str:
    folder = join(".", working_directory(step))
    for words in commands(step.node.text("run")):
        if words[0] == "cd" and len(words) == 2:
            folder = join(folder, words[1])
        for option, value in zip(words, words[1:], strict=False):
            if words[0] == "npm" and option in {"--prefix", "-C"}:
                return join(folder, value)
    return folder


def _installs_with(step: StepNode, flag: str) -> bool:
    return any(words[0] == "npm" and flag in words for words in commands(step.node.text("run")))


def _apart(tree: Tree, folder: str, lock: Mapping[str, Any]) -> Iterator[str]:
    """The packages for which a manifest (the root's or a workspace's) and the lock file differ."""
    if "packages" not in lock:  # npm 6: only what is installed, without the ranges asked for
        manifest = json_object(tree, join(folder, "package.json"))
        named = {name for group in _GROUPS[:3] for name in table(manifest, group)}
        yield from named - table(lock, "dependencies").keys()
        return
    for place, entry in table(lock, "packages").items():
        path = join(folder, f"{place}/package.json" if place else "package.json")
        if "node_modules" in place.split("/") or tree.read(path) is None:
            continue
        manifest = json_object(tree, path)
        for group in _GROUPS:
            wanted, locked = table(manifest, group), table(entry, group)
            yield from (name for name in wanted.keys() | locked.keys() if wanted.get(name) != locked.get(name))


def _resolved(lock: Mapping[str, Any]) -> tuple[str, ...]:
    """Leave addresses out when the lock file as it is has none (``omit-lockfile-registry-resolved``)."""
    installed = [e for place, e in table(lock, "packages").items() if "node_modules" in place and not e.get("link")]
    without = installed and not any("resolved" in entry for entry in installed)
    return ("--omit-lockfile-registry-resolved",) if without else ()
