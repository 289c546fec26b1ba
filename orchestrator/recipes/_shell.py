"""The simple commands of a ``run:`` script, as far as they can be read without a shell.

Enough to answer "which tool is called with which arguments"; a word that a shell would expand is
left as it stands, so that a recipe can see it and decline.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from orchestrator.workflow import StepNode
from orchestrator.yamlnode import YamlNode

Words = tuple[str, ...]

_CONTINUED = re.compile(r"\\\r?\n[ \t]*")
_LONGEST = 60
_OPERATORS = frozenset(";&|<>()")
_PREFIXES = frozenset({"if", "!", "then", "else", "do", "time", "exec", "command", "sudo", "{"})
# A tool of an environment in the repository: .venv/bin/ruff, node_modules/.bin/prettier.
_ENVIRONMENT = re.compile(r"^(?:[\w.-]+/)*\.?bin/(?=[^/]+$)")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
# Front ends that run another tool, and their options that take a value.
_RUNNERS = (
    ("uv", "run"), ("uv", "tool", "run"), ("uvx",), ("pipx", "run"), ("poetry", "run"), ("pdm", "run"),
    ("hatch", "run"), ("npx",), ("pnpm", "exec"), ("pnpm", "dlx"), ("yarn", "exec"), ("yarn", "dlx"), ("bunx",),
)  # fmt: skip
_VALUED = frozenset({"--with", "--group", "--extra", "--python", "-p", "--package", "--project", "--directory"})


def commands(script: str) -> Iterator[Words]:
    """Each simple command's words. What follows a redirection is dropped."""
    lines = _CONTINUED.sub(" ", script).splitlines()
    start = 0
    while start < len(lines):
        # A quotation may go on over several lines; one that never ends leaves its line out.
        for end in range(start + 1, min(len(lines), start + _LONGEST) + 1):
            found = _split("\n".join(lines[start:end]))
            if found is not None:
                yield from found
                break
        else:
            end = start + 1
        start = end


def _split(text: str) -> list[Words] | None:
    """The commands of a text, or ``None`` when a quotation in it does not end."""
    reader = shlex.shlex(text, posix=True, punctuation_chars="".join(_OPERATORS))
    reader.whitespace_split = True
    reader.commenters = ""
    found: list[Words] = []
    words: list[str] = []
    redirected = False
    try:
        for word in reader:
            if word.startswith("#"):
                break
            if word and set(word) <= _OPERATORS:
                redirected = word[0] in "<>"
                if not redirected:
                    found += _bare(words)
                    words = []
            elif not redirected:
                words.append(word)
    except ValueError:
        return None
    return [*found, *_bare(words)]


def _bare(words: list[str]) -> Iterator[Words]:
    while words and (words[0] in _PREFIXES or _ASSIGNMENT.match(words[0])):
        words = words[1:]
    if words:
        yield (_ENVIRONMENT.sub("", words[0]), *words[1:])


def program(words: Words) -> Words:
    """The tool and its arguments without the front end that starts it (``python -m``, ``uv run`` …)."""
    if re.fullmatch(r"python[\d.]*", words[0]) and words[1:2] == ("-m",):
        return program(words[2:]) if len(words) > 2 else words
    for runner in _RUNNERS:
        if words[: len(runner)] == runner:
            rest = words[len(runner) :]
            while rest and rest[0].startswith("-"):
                rest = rest[2:] if rest[0] in _VALUED else rest[1:]
            return program(rest) if rest else words
    if words[:2] == ("uv", "pip"):
        return words[1:]
    return words


def working_directory(step: StepNode, node: YamlNode | None = None) -> str:
    """The folder in which a ``run:`` step of the job (the located one by default) works."""
    places = ((node or step.node).text("working-directory"),) + tuple(
        place.text("defaults", "run", "working-directory") for place in (step.job, step.root)
    )
    return next(filter(None, places), ".")
