"""The deny-list: what no diff of ours may ever do, whatever recipe or tool made it.

Pure. Each check looks at what a change *adds* or loses, so that a repository which already has
such a thing is not our business.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable

from orchestrator.model import Change, FileChange
from orchestrator.workflow import FOLDER, LOCKFILE
from orchestrator.yamlnode import YamlNode

Parse = Callable[[str], YamlNode | None]

_SILENCERS = (
    (r"\|\|\s*(?:true|:|exit 0)\b", "lets a command fail silently"),
    (r"\bcontinue-on-error\s*:\s*(?:true|\$\{\{)", "lets a step fail silently"),
    (r"--no-verify\b", "skips git's hooks"),
    (r"\bset \+e\b", "lets a script fail silently"),
    (r"\bpull_request_target\b", "runs foreign code with secrets"),
    (r"\ballow-unsafe-pr-checkout\b", "checks out foreign code with secrets"),
    (r"ACTIONS_ALLOW_UNSECURE_COMMANDS|ACTIONS_ALLOW_USE_UNSECURE_NODE_VERSION", "weakens the runner"),
    (r"\b(?:read|write)-all\b", "grants every permission"),
    (r"\bsecrets\s*:\s*inherit\b", "hands on every secret"),
    (r"(?i)sslVerify\s*[=:]?\s*false|strict-ssl\s*[=:]?\s*false|NODE_TLS_REJECT_UNAUTHORIZED|"
     r"--trusted-host|--insecure\b|verify\s*=\s*False|--no-check-certificate|curl\s.*\s-k\b", "weakens TLS"),
    (r"(?i)@(?:pytest\.mark\.)?(?:skip|xfail)\b|\b(?:it|test|describe)\.skip\b|\bt\.Skip\(|#\[ignore\]", "skips a test"),
    (r"(?i)#\s*(?:noqa|type:\s*ignore|nosec|pragma:\s*no cover)|eslint-disable|//\s*nolint|@ts-ignore", "silences a checker"),
    (r"--legacy-peer-deps\b|--force\b|--allow-unrelated-histories", "forces what a tool refused"),
)
_SILENCERS_COMPILED = tuple((re.compile(pattern), meaning) for pattern, meaning in _SILENCERS)
_TEST_FILE = re.compile(r"(?:^|/)(?:tests?/|test_[^/]*$|[^/]*_test\.|[^/]*\.(?:test|spec)\.)")
_SHA_REF = re.compile(r"@[0-9a-f]{40}$")
_LEVELS = {"none": 0, "read": 1, "write": 2}


def violations(change: Change, parse: Parse) -> list[str]:
    """Every way in which the change breaks a rule; an empty list lets it pass."""
    found: list[str] = []
    for file in change.files:
        found += _path(file)
        found += _added_lines(file)
        if file.path.startswith(FOLDER):
            found += _workflow(file, parse, change.planned.fix.permission)
    return found


def _path(file: FileChange) -> list[str]:
    parts = file.path.split("/")
    if file.path.startswith("/") or ".." in parts or ".git" in parts or "\0" in file.path:
        return [f"{file.path!r} is no path inside the repository"]
    if file.path == LOCKFILE:
        return [f"{LOCKFILE} is written by its own tool only"]
    if file.after is None and _TEST_FILE.search(file.path):
        return [f"deletes the test file {file.path}"]
    return []


def _added_lines(file: FileChange) -> list[str]:
    before = Counter((file.before or b"").decode("utf-8", "replace").splitlines())
    after = Counter((file.after or b"").decode("utf-8", "replace").splitlines())
    found = []
    for line in after - before:
        for pattern, meaning in _SILENCERS_COMPILED:
            if pattern.search(line) and not any(pattern.search(old) for old in (before - after)):
                found.append(f"{file.path}: {line.strip()[:80]!r} {meaning}")
    return found


def _workflow(file: FileChange, parse: Parse, allowed: str) -> list[str]:
    before = parse((file.before or b"").decode("utf-8", "replace"))
    after = parse((file.after or b"").decode("utf-8", "replace"))
    if after is None:
        return [f"{file.path} would not parse"]
    found = []
    granted_before = _permissions(before) if before else {}
    for where, granted in _permissions(after).items():
        old = granted_before.get(where)
        for scope, level in granted.items():
            # A job without its own block had the defaults, which are not known here: any key that
            # it gets anew is a raise, except reads, which never exceed them.
            had = (old or {}).get(scope, "none")
            raised = _LEVELS.get(level, 2) > _LEVELS.get(had, 2)
            kept = old is None and level != "write"
            if raised and not kept and f"{where}:{scope}: {level}" != allowed:
                found.append(f"{file.path}: raises a permission ({where or 'workflow'}: {scope}: {level})")
    if before is not None:
        pinned_before = Counter(r for r in _uses(before) if _SHA_REF.search(r))
        pinned_after = Counter(r for r in _uses(after) if _SHA_REF.search(r))
        if sum(pinned_after.values()) < sum(pinned_before.values()):
            found.append(f"{file.path}: unpins an action that was pinned to a commit")
    return found


def _permissions(root: YamlNode) -> dict[str, dict[str, str]]:
    blocks: dict[str, dict[str, str]] = {}
    jobs = root.get("jobs")
    for where, node in [("", root), *((k.value, v) for k, v in (jobs.entries if jobs else ()))]:
        block = node.get("permissions")
        if block is None:
            continue
        if block.kind == "scalar" and block.value:
            blocks[where] = {"*": block.value.removesuffix("-all")}
        else:
            blocks[where] = {key.value: value.value for key, value in block.entries}
    return blocks


def _uses(node: YamlNode) -> Iterable[str]:
    for key, value in node.entries:
        if key.value == "uses" and value.kind == "scalar":
            yield value.value
        yield from _uses(value)
    for item in node.items:
        yield from _uses(item)
