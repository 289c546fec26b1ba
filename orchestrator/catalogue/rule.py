"""A rule: one kind of failure, as data. The catalogue's folders and users' files share this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.model import Category, Confidence, Severity, Zone

DEFAULT_ZONES = (Zone.OUTPUT, Zone.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How to recognise one kind of failure, what it means, and which recipe mends it.

    ``patterns`` are RE2 expressions, searched in each line after its timestamp and colours were
    removed. ``zones`` say where in a log such a line can be believed; a hit elsewhere is
    reported as a possible forgery and never acted upon. Named groups are the grouping key of the
    failure, so they hold names, never timings or hashes. ``message`` and ``advice`` may use them
    as ``{name}``.
    """

    id: str
    title: str
    category: Category
    severity: Severity
    confidence: Confidence
    patterns: tuple[str, ...]
    zones: tuple[Zone, ...] = DEFAULT_ZONES
    transient: bool = False
    supersedes: tuple[str, ...] = ()
    message: str = ""
    means: str = ""
    advice: str = ""
    recipe: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    no_recipe: str = ""


def rule_from_mapping(rule_id: str, data: Mapping[str, Any], *, where: str) -> Rule:
    """Build a rule from the parsed YAML of one kind.

    Raises UsageError naming ``where`` and the key, when a value is missing or unknown.
    """
    try:
        fix = data.get("fix") or {}
        return Rule(
            id=rule_id,
            title=data["title"],
            category=Category(data["category"]),
            severity=Severity(data.get("severity", "medium")),
            confidence=Confidence(data.get("confidence", "high")),
            patterns=tuple(data["patterns"]),
            zones=tuple(Zone(zone) for zone in data.get("zones", DEFAULT_ZONES)),
            transient=bool(data.get("transient", False)),
            supersedes=tuple(data.get("supersedes", ())),
            message=data.get("message", ""),
            means=" ".join(str(data.get("means", "")).split()),
            advice=" ".join(str(data.get("advice", "")).split()),
            recipe=fix.get("recipe", ""),
            options=fix.get("with", {}),
            no_recipe=" ".join(str(data.get("no_fix", "")).split()),
        )
    except KeyError as missing:
        raise UsageError(f"{where}: rule {rule_id} lacks the key {missing.args[0]!r}") from None
    except ValueError as wrong:
        raise UsageError(f"{where}: rule {rule_id}: {wrong}") from None
