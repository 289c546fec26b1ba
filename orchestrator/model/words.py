"""The words that decisions are made of: each a closed list."""

from __future__ import annotations

from enum import StrEnum


class Category(StrEnum):
    """What kind of thing broke; the five words of the reports."""

    DEPENDENCY = "dependency"
    CODE = "code"
    CONFIGURATION = "configuration"
    INFRASTRUCTURE = "infrastructure"
    PERFORMANCE = "performance"


class Severity(StrEnum):
    """How much it matters. ``low`` alone never makes a run a failure."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Confidence(StrEnum):
    """How sure the diagnosis is. Only ``high`` is ever acted upon."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Safety(StrEnum):
    """``safe`` may be pushed when replayed; ``review`` is at most a pull request."""

    SAFE = "safe"
    REVIEW = "review"


class Decision(StrEnum):
    """What is done about an issue. Exactly one per issue, never a fifth."""

    FIX = "fix"
    RERUN = "rerun"
    GUIDANCE = "guidance"
    DECLINE = "decline"


class Mode(StrEnum):
    """How far a verified change goes."""

    REPORT = "report"
    PATCH = "patch"
    APPLY = "apply"
    COMMIT = "commit"
    PULL_REQUEST = "pull-request"
    PUSH = "push"


class Rung(StrEnum):
    """The verification ladder, lowest first."""

    PARSED = "parsed"
    CHECKED = "checked"
    REPLAYED = "replayed"
    OBSERVED = "observed"


RUNGS = tuple(Rung)
