"""Run the repository's own formatter, at the version that the job uses, on what its check covers.

The rule's options name the tool, its check flags and what turns the check into a change. The
command is taken from the failing step in the workflow file; nothing is guessed: not the version,
not the folders, not the flags.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.model import Declined, Fix, Safety, ToolCheck, ToolRun, WorkflowIssue
from orchestrator.ports import Tree
from orchestrator.recipes import Context
from orchestrator.recipes._data import join, json_object, table
from orchestrator.recipes._node import node_requirement
from orchestrator.recipes._shell import Words, commands, program, working_directory
from orchestrator.recipes._versions import pinned
from orchestrator.workflow import StepNode, locate

_EXPANDED = re.compile(r"[$`]|\$\{\{|[*?]|^~")
_GLOB = re.compile(r"[*?{\[]")
_SCRIPT = re.compile(r"(?:npm|pnpm|yarn|bun)(?: run| run-script)? (?P<name>[\w:.-]+)$")


@dataclass(frozen=True, slots=True)
class _Check:
    """The check as the job runs it: where, and the tool's words without any front end."""

    folder: str
    words: Words


def recipe(issue: WorkflowIssue, context: Context) -> Fix | Declined:
    """The failing check's own command, made to write; proved by the check itself."""
    options, tool = context.options, str(context.options["tool"])
    step = locate(context.tree, issue, context.run.path)
    if step is None:
        return Declined(reason="the failing step was not found in the workflow file")
    checks = list(_checks(step, context.tree, options))
    if len(checks) != 1:
        number = "no" if not checks else "more than one"
        return Declined(reason=f"the failing step itself holds {number} `{tool}` check; run {tool} where it is called")
    arguments = checks[0].words[1:]
    plain = tuple(word for word in arguments if word not in options["check"])
    targets = _targets(plain, options)
    if isinstance(targets, Declined):
        return targets
    version = pinned(context.tree, tool, step)
    if isinstance(version, Declined):
        return version
    start: tuple[str, ...] = (tool,)
    requirement = f"{tool}=={version}"
    if options.get("node"):
        runtime = node_requirement(context.tree, step, checks[0].folder)
        if isinstance(runtime, Declined):
            return runtime
        start, requirement = ("npx", "--yes", f"{tool}@{version}"), runtime
    network, folder = bool(options.get("node")), checks[0].folder
    write = ToolRun(
        requirement=requirement, argv=(*start, *options.get("write", ()), *plain), cwd=folder,
        claims=_claims(folder, targets, options["suffixes"]), network=network,
    )  # fmt: skip
    check = ToolCheck(requirement=requirement, argv=(*start, *arguments), cwd=folder, network=network)
    return Fix(
        title=f"Format with {tool} {version}",
        safety=Safety.SAFE,
        operations=(write,),
        checks=(check,),
        explanation=f"The command of the failing step, run by {tool} {version} as the repository has it.",
    )


def _checks(step: StepNode, tree: Tree, options: Mapping[str, Any]) -> Iterator[_Check]:
    folder = join(".", working_directory(step))
    for words in commands(step.node.text("run")):
        yield from _check(words, folder, tree, options)


def _check(words: Words, folder: str, tree: Tree, options: Mapping[str, Any], depth: int = 0) -> Iterator[_Check]:
    called = program(words)
    name, _, _ = called[0].partition("@")
    called = (name, *called[1:])
    command = (options["tool"], *options.get("subcommand", ()))
    if called[: len(command)] == command and set(called) & set(options["check"]):
        yield _Check(folder, called)
    script = _SCRIPT.fullmatch(" ".join(words))
    if script and depth < 2:
        for inner in commands(_package_script(tree, folder, script["name"])):
            yield from _check(inner, folder, tree, options, depth + 1)


def _package_script(tree: Tree, folder: str, name: str) -> str:
    return str(table(json_object(tree, join(folder, "package.json")), "scripts").get(name, ""))


def _targets(words: Words, options: Mapping[str, Any]) -> tuple[str, ...] | Declined:
    """The files and folders that the command names."""
    valued, named = frozenset(options.get("valued", ())), []
    rest = list(words[len(options.get("subcommand", ())) :])
    while rest:
        word = rest.pop(0)
        if word in valued and rest:
            rest.pop(0)
        elif not word.startswith("-"):
            named.append(word)
    allowed = options.get("patterns", False)
    for word in named:
        if _EXPANDED.search(word) and not (allowed and "$" not in word and "`" not in word):
            return Declined(reason=f"the check's argument {word!r} is expanded by the shell")
        if word.startswith("/") or ".." in word.split("/"):
            return Declined(reason=f"the check's argument {word!r} leads out of its folder")
    if named or options.get("default"):
        return tuple(named) or (options["default"],)
    return Declined(reason=f"the command `{' '.join(words)}` names no files")


def _claims(folder: str, targets: tuple[str, ...], suffixes: list[str]) -> tuple[str, ...]:
    """Glob patterns of the files that the command may change."""
    claims = []
    for target in targets:
        path = join(folder, target)
        root = _GLOB.split(path)[0].rpartition("/")[0] if _GLOB.search(path) else path
        ends = [suffix for suffix in suffixes if path.endswith(suffix)] or suffixes
        if root == path and ends != suffixes:
            claims.append(path)
        else:
            claims += [f"{root}/*{suffix}".removeprefix("./").removeprefix("/") for suffix in ends]
    return tuple(claims)
