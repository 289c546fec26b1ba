"""The same failure on another day, another runner, another attempt: the same fingerprint."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

_VOLATILE = (
    (re.compile(r"\b[0-9a-f]{7,64}\b"), "#"),  # commits, digests
    (re.compile(r"0x[0-9a-fA-F]+"), "#"),  # addresses
    (re.compile(r"\d+(?:\.\d+)*"), "#"),  # counts, times, ports, line numbers
)


def normalise(text: str) -> str:
    """Replace what changes from run to run (numbers, hashes, addresses) by ``#``."""
    for pattern, mark in _VOLATILE:
        text = pattern.sub(mark, text)
    return " ".join(text.split())


def fingerprint(rule_id: str, captures: Mapping[str, str], workflow: str, job: str) -> str:
    """Hash of the rule, what it captured and the failing unit; 40 hexadecimal digits."""
    parts = [rule_id, normalise(workflow), normalise(job)]
    parts += [f"{name}={normalise(value)}" for name, value in sorted(captures.items())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]
