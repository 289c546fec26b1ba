"""Declare a distribution that the repository imports and has forgotten to require.

The log only says which module was missing. Whether it is third-party, really needed and really
undeclared is read from the repository; which distribution provides it, from a curated table.
"""

from __future__ import annotations

import ast
import posixpath
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from orchestrator.model import Declined, Fix, Safety, Splice, WorkflowIssue
from orchestrator.ports import Tree
from orchestrator.recipes import Context
from orchestrator.recipes._data import join
from orchestrator.recipes._distributions import distributions, resembles
from orchestrator.recipes._requirements import LOCK_FILES, REQUIREMENTS_FILE, add_item, add_line, declared
from orchestrator.recipes._shell import Words, commands, program, working_directory
from orchestrator.workflow import locate

_TEST_FILE = re.compile(r"(?:^|/)(?:tests?/|test_[^/]*$|conftest\.py$|[^/]*_test\.py$)")
_FOR_TESTS = re.compile(r"test|dev|ci", re.IGNORECASE)
_PROJECT = re.compile(r"(?P<folder>\.[\w./-]*)(?:\[(?P<extras>[\w,\s-]+)\])?")
_GUARDS = frozenset({"ImportError", "ModuleNotFoundError", "Exception"})


@dataclass(frozen=True, slots=True)
class _Installed:
    """What a step of the job installs: a requirements file, or a project with some extras and groups."""

    path: str
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


def recipe(issue: WorkflowIssue, context: Context) -> Fix | Declined:
    """Add the missing module's distribution where the failing job installs from."""
    tree, module = context.tree, issue.captures.get("module", "")
    names = distributions(module)
    refused = _not_third_party(tree, module) or (None if names else _unknown(module))
    if refused:
        return refused
    importers = sorted(path for path in tree.paths() if path.endswith(".py") and _imports(tree, path, module))
    if not importers:
        return Declined(reason=f"no file of the repository needs {module}; the import is in something it uses")
    known = declared(tree)
    present = next((known[key] for name in names if (key := canonicalize_name(name)) in known), "")
    if present:
        return Declined(reason=f"{names[0]} is declared in {present}; the failing job does not install from there")
    for_tests = all(_TEST_FILE.search(path) for path in importers)
    edits = _written(tree, _installed(issue, context), names[0], for_tests)
    if isinstance(edits, Declined):
        return edits
    note = f"{importers[0]} imports {module}, which {names[0]} provides; no manifest names it."
    if len(names) > 1:
        note += f" {' and '.join(names[1:])} would provide it too."
    return Fix(
        title=f"Require {names[0]} in {edits[0].path}",
        safety=Safety.REVIEW,
        operations=edits,
        explanation=note + " No version is given; pin it as the other requirements are.",
    )


def _not_third_party(tree: Tree, module: str) -> Declined | None:
    top = module.split(".")[0]
    if top in sys.stdlib_module_names:
        return Declined(reason=f"{module} belongs to Python's standard library; the job's Python lacks it")
    for path in tree.paths():
        parts = path.split("/")
        if path.endswith(".py") and (top in parts[:-1] or parts[-1] == f"{top}.py"):
            return Declined(reason=f"{top} is part of the repository ({path}); it must be put on the path or installed")
    return None


def _unknown(module: str) -> Declined:
    like = resembles(module)
    if like:
        return Declined(reason=f"{module} may be a misspelling of {like}; such names are never installed", unsafe=True)
    return Declined(reason=f"it is not known for sure which distribution provides {module}")


def _imports(tree: Tree, path: str, module: str) -> bool:
    """Whether a file can't be imported without the module."""
    text = tree.text(path)
    if text is None or module.split(".")[0] not in text:
        return False
    try:
        parsed = ast.parse(text.removeprefix("\ufeff"))
    except (SyntaxError, ValueError, RecursionError):
        return False
    return any(name == module or name.startswith(f"{module}.") for name in _needed(parsed))


def _needed(node: ast.AST) -> Iterator[str]:
    """The absolute names that are imported without a way to do without them."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    optional = (isinstance(node, ast.Try) and _catches_import_error(node)) or (
        isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    )
    inside = set(map(id, node.body)) if optional and isinstance(node, ast.Try | ast.If) else set()
    for child in ast.iter_child_nodes(node):
        if id(child) not in inside:
            yield from _needed(child)


def _catches_import_error(node: ast.Try) -> bool:
    return any(
        handler.type is None or any(isinstance(n, ast.Name) and n.id in _GUARDS for n in ast.walk(handler.type))
        for handler in node.handlers
    )


def _installed(issue: WorkflowIssue, context: Context) -> list[_Installed]:
    failing = locate(context.tree, issue, context.run.path)
    if failing is None:
        return []
    found: list[_Installed] = []
    for step in failing.steps[: failing.index + 1]:
        folder = working_directory(failing, step)
        for words in commands(step.text("run")):
            found += _sources(program(words), folder)
    return list(dict.fromkeys(found))


def _sources(words: Words, folder: str) -> Iterator[_Installed]:
    if words[:2] == ("uv", "sync"):
        values = list(zip(words, words[1:], strict=False))
        yield _Installed(
            join(folder, "pyproject.toml"),
            extras=tuple(value for option, value in values if option == "--extra"),
            groups=("dev", *(value for option, value in values if option in {"--group", "--only-group"})),
        )
    if words[0] not in {"pip", "pip3"} or words[1:2] != ("install",):
        return
    previous = ""
    for word in words[2:]:
        file = word if previous in {"-r", "--requirement"} else ""
        file = file or re.sub(r"^(?:--requirement=|-r(?=[^\s-]))", "", word) * word.startswith(("--requirement=", "-r"))
        project = _PROJECT.fullmatch(word)
        if file and file != "-r":
            yield _Installed(join(folder, file))
        elif project and previous not in {"-c", "--constraint"}:
            extras = tuple(e.strip() for e in (project["extras"] or "").split(",") if e.strip())
            yield _Installed(join(folder, f"{project['folder']}/pyproject.toml"), extras=extras)
        previous = word


def _written(tree: Tree, installed: list[_Installed], name: str, for_tests: bool) -> tuple[Splice, ...] | Declined:
    files = [one.path for one in installed if tree.text(one.path) is not None and not one.path.endswith(".toml")]
    projects = [one for one in installed if one.path.endswith("pyproject.toml") and tree.text(one.path) is not None]
    if not files and not projects:
        files = [path for path in tree.paths() if REQUIREMENTS_FILE.search(path)]
    if len(files) > 1:
        files = [path for path in files if bool(_FOR_TESTS.search(path)) == for_tests]
    if len(files) == 1:
        line = add_line(files[0], tree.text(files[0]) or "", name)
        return line if isinstance(line, Declined) else (line,)
    if len(projects) == 1 and not files:
        return _in_project(tree, projects[0], name, for_tests)
    return Declined(reason=f"it is not clear which manifest the job installs from, so where {name} belongs")


def _in_project(tree: Tree, project: _Installed, name: str, for_tests: bool) -> tuple[Splice, ...] | Declined:
    folder = posixpath.dirname(project.path)
    lock = next((f for f in LOCK_FILES if tree.read(join(folder, f)) is not None), "")
    if lock:
        return Declined(reason=f"{lock} must be written anew with it; let the tool that owns it add {name}")
    text = tree.text(project.path) or ""
    places = [("project", "dependencies")]
    if for_tests:
        places = [("project.optional-dependencies", extra) for extra in project.extras]
        places += [("dependency-groups", group) for group in reversed(project.groups)]
        places = places if any(f"[{table}]" in text for table, _ in places) else [("project", "dependencies")]
    outcome: tuple[Splice, ...] | Declined = Declined(reason=f"{project.path} has no list for it")
    for table, key in places:
        outcome = add_item(project.path, text, table, key, name)
        if not isinstance(outcome, Declined):
            return outcome
    return outcome
