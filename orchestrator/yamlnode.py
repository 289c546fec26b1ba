"""YAML as positions in a text: what recipes read, and where their edits go.

An edit is a splice of the original characters, so every byte outside it stays. The parser is an
edge (``edges.yaml``); this is its result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Route = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlNode:
    """One node and the characters that it spans, ``[start, end)`` in the file's text.

    ``value`` is a scalar's text after unquoting. ``shared`` nodes are reached through an alias
    too: an edit there changes several places, so recipes leave them alone.
    """

    kind: Literal["mapping", "sequence", "scalar"]
    start: int
    end: int
    line: int
    column: int
    value: str = ""
    style: str = ""
    flow: bool = False
    entries: tuple[tuple[YamlNode, YamlNode], ...] = ()
    items: tuple[YamlNode, ...] = ()
    anchor: str = ""
    shared: bool = False

    def get(self, key: str) -> YamlNode | None:
        """The value under ``key``, or ``None``; also for nodes that are no mapping."""
        return next((value for name, value in self.entries if name.value == key), None)

    def key(self, key: str) -> YamlNode | None:
        """The key's own node."""
        return next((name for name, _ in self.entries if name.value == key), None)

    def at(self, *route: str | int) -> YamlNode | None:
        """The node at the end of a route of keys and indexes, or ``None``."""
        node: YamlNode | None = self
        for part in route:
            if node is None:
                return None
            if isinstance(part, int):
                node = node.items[part] if -len(node.items) <= part < len(node.items) else None
            else:
                node = node.get(part)
        return node

    def text(self, *route: str | int) -> str:
        """The scalar at a route, or an empty string."""
        node = self.at(*route)
        return node.value if node is not None and node.kind == "scalar" else ""

    def leaves(self, route: Route = ()) -> Iterator[tuple[Route, str]]:
        """Every scalar with its route; an empty collection counts as one leaf."""
        if self.kind == "scalar":
            yield route, ("" if self.style else "plain:") + self.value
        elif not self.entries and not self.items:
            yield route, f"empty {self.kind}"
        for key, value in self.entries:
            yield from value.leaves((*route, key.value))
        for index, item in enumerate(self.items):
            yield from item.leaves((*route, index))


def differing_routes(before: YamlNode, after: YamlNode) -> set[Route]:
    """The routes at which two parsed files differ in value, in both directions."""
    old, new = dict(before.leaves()), dict(after.leaves())
    return {route for route in old.keys() | new.keys() if old.get(route) != new.get(route)}
