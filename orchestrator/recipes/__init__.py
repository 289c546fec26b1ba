"""The mends. One file each, found by its name; rules name the one that they need.

A recipe is a function ``recipe(issue, context) -> Fix | Declined`` that looks at the
repository's files only through ``context.tree`` and writes nothing. It acts only when the
repository itself shows the fault that the log speaks of; otherwise it declines and says why.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from orchestrator.model import Declined, Fix, WorkflowIssue, WorkflowRun
from orchestrator.ports import Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a recipe may look at: the files at the failing commit, the run, the rule's options."""

    tree: Tree
    run: WorkflowRun
    options: Mapping[str, Any] = field(default_factory=dict)


Recipe: TypeAlias = Callable[[WorkflowIssue, Context], Fix | Declined]


def names() -> list[str]:
    """The names of all recipes, as rules write them."""
    return sorted(
        module.name.replace("_", "-")
        for module in pkgutil.iter_modules(__path__)
        if not module.name.startswith("_")
    )


def find(name: str) -> Recipe:
    """The recipe of that name. Raises KeyError when there is none."""
    if name not in names():
        raise KeyError(name)
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    recipe: Recipe = module.recipe
    return recipe
