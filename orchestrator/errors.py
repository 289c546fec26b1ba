"""What can go wrong, in two classes: the user's world, and our bugs.

::

    Exception
    └── OrchestratorError        expected: one clear line, no traceback
        ├── UsageError           wrong arguments, inputs or configuration (exit 2)
        ├── SourceError          the logs or the run cannot be read (exit 2)
        ├── NoRootCause          everything was read, nothing recognised (exit 3)
        └── ServiceError         GitHub or git said no, or did not answer (exit 2)
            ├── AccessDenied     the token lacks a permission; names it
            ├── NotFound         404 or 410
            └── Conflict         the world moved: stale head, existing branch

Anything else that reaches the top is a bug (exit 1) and is shown with a text to paste.
Each message says what happened, where, and what to do next.
"""

from __future__ import annotations


class OrchestratorError(Exception):
    """An expected failure. ``str()`` of it is the one line that the user reads."""

    exit_code = 2


class UsageError(OrchestratorError):
    """Wrong arguments, inputs or configuration."""


class SourceError(OrchestratorError):
    """The given log, archive, event or run cannot be read."""


class NoRootCause(OrchestratorError):
    """The logs were read and no rule recognised a cause."""

    exit_code = 3


class ServiceError(OrchestratorError):
    """GitHub or a git server refused, or gave no answer."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class AccessDenied(ServiceError):
    """The token may not do this; the message names the missing permission."""


class NotFound(ServiceError):
    """The thing does not exist, or the token may not see it (404), or is gone (410)."""


class Conflict(ServiceError):
    """The state on the server changed under us; nothing was overwritten."""
