"""YAML through ruamel.yaml: plain data for our own files, nodes with positions for everybody's."""

from __future__ import annotations

import io
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from orchestrator.errors import UsageError
from orchestrator.yamlnode import YamlNode

_BOM = "\ufeff"
_MAX_NODES = 300_000


def load_plain(text: str, where: str) -> dict[str, Any]:
    """One of our own YAML files as plain data. Raises UsageError with line and reason."""
    try:
        data = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError) as wrong:
        raise UsageError(f"{where}: {_reason(wrong)}") from None
    if not isinstance(data, dict):
        raise UsageError(f"{where}: expected keys and values at the top, found {type(data).__name__}")
    return data


def parse(text: str) -> YamlNode | None:
    """The nodes of a text with their positions in it, or ``None`` when it is not one document."""
    offset = 1 if text.startswith(_BOM) else 0
    reader = YAML(typ="rt", pure=True)
    reader.allow_duplicate_keys = False
    try:
        # compose() reads exactly one document and raises for a second one.
        root = reader.compose(io.StringIO(text[offset:]))
        reader.load(io.StringIO(text[offset:]))  # duplicate keys show only when constructed
        if root is None:
            return None
        shared: dict[int, int] = {}
        _count(root, shared)
        return _convert(root, shared, offset, [_MAX_NODES])
    except (YAMLError, ValueError, RecursionError):
        return None


def reason(text: str) -> str:
    """Why a text does not parse, with line and column, or an empty string when it does."""
    try:
        YAML(typ="rt", pure=True).load(io.StringIO(text.removeprefix(_BOM)))
    except (YAMLError, ValueError, RecursionError) as wrong:
        return _reason(wrong)
    return ""


def _reason(wrong: Exception) -> str:
    mark = getattr(wrong, "problem_mark", None)
    problem = getattr(wrong, "problem", None) or (str(wrong).splitlines() or [type(wrong).__name__])[0]
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else str(problem)


def _count(node: Node, seen: dict[int, int]) -> None:
    seen[id(node)] = seen.get(id(node), 0) + 1
    if seen[id(node)] > 1:
        return
    if isinstance(node, MappingNode):
        for key, value in node.value:
            _count(key, seen)
            _count(value, seen)
    elif isinstance(node, SequenceNode):
        for item in node.value:
            _count(item, seen)


def _convert(node: Node, seen: dict[int, int], offset: int, left: list[int], shared: bool = False) -> YamlNode:
    # Aliases of aliases of aliases would unfold to billions of nodes.
    left[0] -= 1
    if left[0] < 0:
        raise ValueError("too many nodes")
    shared = shared or seen[id(node)] > 1
    common: dict[str, Any] = {
        "start": node.start_mark.index + offset,
        "end": node.end_mark.index + offset,
        "line": node.start_mark.line + 1,
        "column": node.start_mark.column,
        "flow": bool(getattr(node, "flow_style", False)),
        "anchor": node.anchor or "",
        "shared": shared,
    }
    if isinstance(node, MappingNode):
        entries = tuple(
            (_convert(k, seen, offset, left, shared), _convert(v, seen, offset, left, shared))
            for k, v in node.value
        )
        return YamlNode(kind="mapping", entries=entries, **common)
    if isinstance(node, SequenceNode):
        items = tuple(_convert(item, seen, offset, left, shared) for item in node.value)
        return YamlNode(kind="sequence", items=items, **common)
    assert isinstance(node, ScalarNode)
    return YamlNode(kind="scalar", value=node.value, style=node.style or "", **common)
