"""TOML and JSON files of a repository as plain data; one that does not parse holds nothing."""

from __future__ import annotations

import json
import posixpath
import tomllib
from collections.abc import Mapping
from typing import Any

from orchestrator.ports import Tree


def toml(tree: Tree, path: str) -> Mapping[str, Any]:
    """A TOML file's table."""
    try:
        return tomllib.loads(tree.text(path) or "")
    except tomllib.TOMLDecodeError:
        return {}


def json_object(tree: Tree, path: str) -> Mapping[str, Any]:
    """A JSON file's object."""
    try:
        data = json.loads((tree.text(path) or "{}").removeprefix("\ufeff"))
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def table(data: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """The table at the end of some keys, empty when anything else is there."""
    for key in keys:
        inner = data.get(key)
        data = inner if isinstance(inner, dict) else {}
    return data


def join(folder: str, path: str) -> str:
    """A path relative to a folder of the repository, as the tree names it."""
    return posixpath.normpath(posixpath.join(folder, path))
