"""Removes secrets from text before it leaves. The runner masks only what it was told is secret;
what was derived, decoded or printed by accident is in the log in clear."""

from __future__ import annotations

import re

MASK = "***"

_SECRETS = tuple(
    re.compile(pattern)
    for pattern in (
        # GitHub's tokens, the new long installation tokens with dots included.
        r"(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9._-]{20,}",
        r"(?<![A-Za-z0-9])github_pat_[A-Za-z0-9_]{20,}",
        r"(?<![A-Za-z0-9])npm_[A-Za-z0-9]{20,}",
        r"(?<![A-Za-z0-9])pypi-[A-Za-z0-9_-]{20,}",
        r"(?<![A-Za-z0-9])xox[abeoprs]-[A-Za-z0-9-]{10,}",
        r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
        r"(?<![A-Za-z0-9])AIza[A-Za-z0-9_-]{30,}",
        r"(?<![A-Za-z0-9])sk_(?:live|test)_[A-Za-z0-9]{16,}",
        r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{20,}",
        r"(?<![A-Za-z0-9])glpat-[A-Za-z0-9_-]{16,}",
        r"(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{8,2000}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
        # A line of a key whose first line is elsewhere.
        r"(?m)^[ \t]*[A-Za-z0-9+/]{64}={0,2}[ \t]*$",
    )
)
_URL_CREDENTIALS = re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://)[^\s/@:]+(?::[^\s/@]*)?@")
_ASSIGNED = re.compile(
    r"(?i)((?:TOKEN|SECRET(?:[_-]?ACCESS)?(?:[_-]?KEY)?|PASSWORD|PASSWD|API[_-]?KEY|ACCESS[_-]?KEY|PRIVATE[_-]?KEY|CREDENTIALS?)"
    r"[\"']?\s*[=:]\s*[\"']?)(?!\$)([^\s\"',;]{6,})"
)
_AUTHORIZATION = re.compile(r"(?i)\b(authorization:\s*(?:basic|bearer|token)\s+)\S+")


def redact(text: str, known: tuple[str, ...] = ()) -> str:
    """Replace everything that looks like a secret, and every ``known`` one, by ``***``."""
    for secret in known:
        if secret:
            text = text.replace(secret, MASK)
    for pattern in _SECRETS:
        text = pattern.sub(MASK, text)
    text = _URL_CREDENTIALS.sub(rf"\1{MASK}@", text)
    text = _AUTHORIZATION.sub(rf"\1{MASK}", text)
    return _ASSIGNED.sub(rf"\1{MASK}", text)
