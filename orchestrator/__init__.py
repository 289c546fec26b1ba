"""MCP Orchestrator: names the root cause of a red GitHub Actions run and mends what is safe to mend.

Python users start at :class:`Orchestrator`. Names are imported when they are first used, so that
importing the package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from orchestrator.api import Orchestrator as Orchestrator
    from orchestrator.model import FixResult as FixResult
    from orchestrator.model import WorkflowIssue as WorkflowIssue
    from orchestrator.model import WorkflowRun as WorkflowRun

__all__ = ["FixResult", "Orchestrator", "WorkflowIssue", "WorkflowRun", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Orchestrator":
        from orchestrator.api import Orchestrator

        return Orchestrator
    if name in __all__:
        from orchestrator import model

        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
