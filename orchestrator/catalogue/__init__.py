"""Finds the rules: one folder a kind, ``<family>/<kind>/rule.yml``, nothing registered by hand.

The parsed rules are cached as JSON beside this file, as Python does with bytecode, because
parsing hundreds of small YAML files would cost more than a diagnosis. The cache is keyed by
every file's name, size and time, so that it can't be stale; where it can't be written, nothing
is lost but time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator import __version__
from orchestrator.catalogue.rule import Rule, rule_from_mapping

FOLDER = Path(__file__).parent

__all__ = ["FOLDER", "Rule", "load", "rule_files", "rule_from_mapping"]


def rule_files(folder: Path = FOLDER) -> dict[str, Path]:
    """Every kind's id (``family/kind``) and its ``rule.yml``, in order of the ids."""
    found = {}
    for family in os.scandir(folder):
        if family.is_dir() and not family.name.startswith(("_", ".")):
            for kind in os.scandir(family.path):
                file = Path(kind.path, "rule.yml")
                if kind.is_dir() and file.exists():
                    found[f"{family.name}/{kind.name}"] = file
    return dict(sorted(found.items()))


def load(folder: Path = FOLDER) -> dict[str, Rule]:
    """All rules by id."""
    files = rule_files(folder)
    data = _cached(folder, files)
    return {
        rule_id: rule_from_mapping(rule_id, data[rule_id], where=str(file))
        for rule_id, file in files.items()
    }


def _cached(folder: Path, files: Mapping[str, Path]) -> dict[str, Any]:
    stamp = hashlib.sha256(__version__.encode())
    for rule_id, file in files.items():
        stat = file.stat()
        stamp.update(f"{rule_id}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    cache = folder / "__pycache__" / "rules.json"
    try:
        with cache.open(encoding="utf-8") as stream:
            stored = json.load(stream)
        if stored["stamp"] == stamp.hexdigest():
            return dict(stored["rules"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    from orchestrator.edges.yaml import load_plain  # only when the cache is stale

    rules = {rule_id: load_plain(file.read_text("utf-8"), str(file)) for rule_id, file in files.items()}
    try:
        cache.parent.mkdir(exist_ok=True)
        fresh = cache.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps({"stamp": stamp.hexdigest(), "rules": rules}), "utf-8")
        fresh.replace(cache)
    except OSError:
        pass
    return rules
