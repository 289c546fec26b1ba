"""Removes secrets from text before it leaves. The runner masks only what it was told is secret;
what was derived, decoded or printed by accident is in the log in clear."""

from __future__ import annotations

import re

MASK = "***"

_SECRETS = tuple(
    re.compile(pattern)
    for pattern in (
        # GitHub's tokens, the new long installation tokens with dots included.
        r"\bgh[pousr]_[A-Za-z0-9._-]{20,}",
        r"\bgithub_pat_[A-Za-z0-9_]{20,}",
        r"\bnpm_[A-Za-z0-9]{20,}",
        r"\bpypi-[A-Za-z0-9_-]{20,}",
        r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
        r"\bAIza[A-Za-z0-9_-]{30,}",
        r"\bsk_(?:live|test)_[A-Za-z0-9]{16,}",
        r"\bsk-[A-Za-z0-9_-]{20,}",
        r"\bglpat-[A-Za-z0-9_-]{16,}",
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
        # A line of a key whose first line is elsewhere.
        r"(?m)^[ \t]*[A-Za-z0-9+/]{64}={0,2}[ \t]*$",
    )
)
_URL_CREDENTIALS = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@:]+(?::[^\s/@]*)?@")
_ASSIGNED = re.compile(
    r"(?i)\b((?:[A-Z0-9_-]*(?:TOKEN|SECRET(?:[_-]?ACCESS)?(?:[_-]?KEY)?|PASSWORD|PASSWD|API[_-]?KEY|ACCESS[_-]?KEY|PRIVATE[_-]?KEY|CREDENTIALS?))"
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
