"""``.github/orchestrator.yml``: validated against the published JSON Schema, mistakes named by line."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from orchestrator.catalogue.rule import Rule, rule_from_mapping
from orchestrator.errors import UsageError
from orchestrator.model import Mode, Severity
from orchestrator.yamlnode import YamlNode

PATH = ".github/orchestrator.yml"
SCHEMA = Path(__file__).with_name("config.schema.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A repository's own settings. ``None`` leaves the choice to the action's inputs."""

    mode: Mode | None = None
    max_attempts: int | None = None
    max_reruns: int | None = None
    disable: frozenset[str] = frozenset()
    severity: Mapping[str, Severity] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()

    def override(self, **choices: Any) -> Config:
        """This configuration with every choice that is not ``None`` in its place."""
        return replace(self, **{name: value for name, value in choices.items() if value is not None})

    def adapt(self, catalogue: Mapping[str, Rule]) -> dict[str, Rule]:
        """The catalogue with this configuration's rules added, changed and left out."""
        rules = {**catalogue, **{rule.id: rule for rule in self.rules}}
        unknown = sorted((self.disable | self.severity.keys()) - rules.keys())
        if unknown:
            raise UsageError(f"{PATH}: there is no rule {unknown[0]!r}{_suggest(unknown[0], rules)}")
        return {
            rule_id: replace(rule, severity=self.severity.get(rule_id, rule.severity))
            for rule_id, rule in rules.items()
            if rule_id not in self.disable
        }


def from_data(data: Mapping[str, Any], nodes: YamlNode, where: str = PATH) -> Config:
    """Check plain data against the schema and build the configuration.

    Raises UsageError with file, line, key, and what was probably meant.
    """
    import jsonschema_rs

    try:
        errors = list(jsonschema_rs.Draft202012Validator(_schema()).iter_errors(dict(data)))
    except (ValueError, TypeError) as wrong:  # keys or values that JSON does not know, such as a date
        raise UsageError(f"{where}: {str(wrong).splitlines()[0]}") from None
    if errors:
        # A misspelt key is also a missing one; the spelling is what to say.
        first = next((one for one in errors if getattr(one.kind, "unexpected", None)), errors[0])
        raise UsageError(f"{where}:{_explain(first, nodes)}")
    return Config(
        mode=Mode(data["mode"]) if "mode" in data else None,
        max_attempts=data.get("max-attempts"),
        max_reruns=data.get("max-reruns"),
        disable=frozenset(data.get("disable", ())),
        severity={key: Severity(value) for key, value in data.get("severity", {}).items()},
        rules=tuple(rule_from_mapping(raw["id"], raw, where=where) for raw in data.get("rules", ())),
    )


@cache
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(SCHEMA.read_text("utf-8"))
    return schema


def _explain(error: Any, nodes: YamlNode) -> str:
    route = list(error.instance_path)
    node = nodes.at(*route) or nodes
    line = node.line
    unexpected = getattr(error.kind, "unexpected", None)
    if unexpected:
        key = unexpected[0]
        key_node = node.key(key)
        line = key_node.line if key_node else line
        known = _known_keys(route)
        return f"{line}: unknown key {key!r}{_suggest(key, known)}"
    options = getattr(error.kind, "options", None)
    if options:
        return f"{line}: {route[-1]!r} can't be {error.instance!r}; it is one of {', '.join(options)}{_suggest(str(error.instance), options)}"
    return f"{line}: {'.'.join(map(str, route)) or 'the file'}: {error.message}"


def _known_keys(route: list[str | int]) -> list[str]:
    schema = _schema()
    for part in route:
        schema = schema.get("items", schema) if isinstance(part, int) else schema.get("properties", {}).get(part, schema)
    return list(schema.get("properties", {}))


def _suggest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
