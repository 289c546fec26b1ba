"""Small edits as splices, for the recipes that change a file's text."""

from __future__ import annotations

from orchestrator.model import Splice
from orchestrator.yamlnode import Route, YamlNode


def within(path: str, text: str, node: YamlNode, old: str, new: str, route: Route) -> Splice | None:
    """Replace ``old``, where it stands last in a scalar's own characters, by ``new``.

    ``None`` when the scalar is written in a way (escapes, folding) that does not show it.
    """
    at = text.rfind(old, node.start, node.end)
    if at < 0:
        return None
    return Splice(path=path, start=at, end=at + len(old), old=old, new=new, route=route)


def insertion(path: str, at: int, new: str, route: Route = ()) -> Splice:
    """Put ``new`` before the character at ``at``."""
    return Splice(path=path, start=at, end=at, old="", new=new, route=route)


def newline_of(text: str) -> str:
    """The line ending that a file uses; the first one decides."""
    at = text.find("\n")
    return "\r\n" if at > 0 and text[at - 1] == "\r" else "\n"


def line_end(text: str, at: int) -> int:
    """Where the line that holds ``at`` ends, before its line ending."""
    end = text.find("\n", at)
    end = len(text) if end < 0 else end
    return end - 1 if end > at and text[end - 1] == "\r" else end
