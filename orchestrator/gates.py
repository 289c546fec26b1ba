"""The deny-list: what no diff of ours may ever do, whatever recipe or tool made it.

Pure. Each check looks at what a change *adds* or loses, so that a repository which already has
such a thing is not our business.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from orchestrator.model import Change, FileChange, Fix, Safety
from orchestrator.workflow import FOLDER, LOCKFILE
from orchestrator.yamlnode import Route, YamlNode

Parse = Callable[[str], YamlNode | None]

_SILENCERS = (
    (r"\|\|\s*(?:(?:/usr)?(?:/bin/)?(?:true|echo|printf)\b|:(?![\w:])|exit\s+0\b)", "lets a command fail silently"),
    (r"(?i)\bcontinue-on-error[\"']?\s*:\s*[\"']?(?:true|\$\{\{)", "lets a step fail silently"),
    (r"--no-verify\b", "skips git's hooks"),
    (r"\bset\s+\+(?:e\b|o\s+(?:errexit|pipefail)\b)", "lets a script fail silently"),
    (r"\bpull_request_target\b", "runs foreign code with secrets"),
    (r"\ballow-unsafe-pr-checkout\b", "checks out foreign code with secrets"),
    (r"ACTIONS_ALLOW_UNSECURE_COMMANDS|ACTIONS_ALLOW_USE_UNSECURE_NODE_VERSION", "weakens the runner"),
    (r"\b(?:read|write)-all\b", "grants every permission"),
    (r"\bsecrets\s*:\s*inherit\b", "hands on every secret"),
    (r"(?i)sslVerify\s*[=:]?\s*false|strict-ssl\s*[=:]?\s*false|NODE_TLS_REJECT_UNAUTHORIZED|"
     r"--trusted-host|--insecure\b|verify\s*=\s*False|--no-check-certificate|\bcurl\b.*\s-[a-zA-Z]*k\b|"
     r"\bGIT_SSL_NO_VERIFY\b|InsecureSkipVerify\s*:\s*true|\bGONOSUMDB\b|\bGONOSUMCHECK\b|\bGOINSECURE\b|--allow-insecure", "weakens TLS"),
    (r"(?i)@(?:pytest\.mark\.|unittest\.)?(?:skip|xfail)|\bpytest\.(?:skip|xfail)\(|\b(?:it|test|describe)\.(?:skip|todo)\b|"
     r"\bx(?:it|describe|test)\(|\bt\.Skip(?:Now|f)?\(|#\[ignore|@(?:Disabled|Ignore)\b|--deselect\b|--ignore(?:-glob)?[= ]\S*test", "skips a test"),
    (r"(?i)#\s*(?:noqa|type:\s*ignore|nosec|pragma:\s*no cover)|eslint-disable|//\s*nolint|@ts-ignore", "silences a checker"),
    (r"--legacy-peer-deps\b|--force\b|--allow-unrelated-histories", "forces what a tool refused"),
)
_SILENCERS_COMPILED = tuple((re.compile(pattern), meaning) for pattern, meaning in _SILENCERS)
_TEST_FILE = re.compile(
    r"(?i)(?:^|/)(?:tests?/|__tests__/|specs?/|test_[^/]*$|conftest\.py$|[^/]*_(?:test|spec)\.|[^/]*[.-](?:test|spec)\.)|(?-i:Tests?\.\w+$)"
)
_TEST = re.compile(
    r"(?m)^\s*(?:(?:async\s+)?def\s+test|(?:it|test|describe)(?:\.\w+)?\s*\(|func\s+Test|#\[(?:\w+::)?test\]|@Test\b|\[(?:Fact|Test)\])"
)
_THRESHOLD = re.compile(
    r"(?i)(?P<name>\bfail[-_]under|\bmin(?:imum)?[-_]?coverage|\bcoverage[-_]?threshold|\bthreshold|\bbranches|\bfunctions|\blines|\bstatements)"
    r"[\"']?\s*[:=\s]\s*[\"']?(?P<level>\d+(?:\.\d+)?)(?![\w.])"
)
_COMMIT = re.compile(r"@(?:[0-9a-f]{40}|sha256:[0-9a-f]{64})$")
_LEVELS = {"none": 0, "read": 1, "write": 2}


def violations(change: Change, parse: Parse) -> list[str]:
    """Every way in which the change breaks a rule; an empty list lets it pass."""
    found: list[str] = []
    for file in change.files:
        found += _path(file)
        found += _added_lines(file)
        if file.path.startswith(FOLDER):
            found += _workflow(file, parse, change.planned.fix)
        elif file.path.endswith(("action.yml", "action.yaml")) and file.before and file.after:
            before, after = parse(_text(file.before)), parse(_text(file.after))
            found += _unpinned(file.path, before, after) if before and after else []
    return found


def _path(file: FileChange) -> list[str]:
    parts = file.path.split("/")
    if not parts[0] or {"..", "."} & set(parts) or ".git" in file.path.lower().split("/") or "\0" in file.path:
        return [f"{file.path!r} is no path inside the repository"]
    if file.path == LOCKFILE:
        return [f"{LOCKFILE} is written by its own tool only"]
    if file.after is None and _TEST_FILE.search(file.path):
        return [f"deletes the test file {file.path}"]
    return []


def _added_lines(file: FileChange) -> list[str]:
    old, new = _text(file.before), _text(file.after)
    before, after = Counter(old.splitlines()), Counter(new.splitlines())
    found = []
    added, removed = list((after - before).elements()), list((before - after).elements())
    for pattern, meaning in _SILENCERS_COMPILED:
        # A line that is only moved or edited had it before: what counts is that there is more of it.
        hits = [line for line in added if pattern.search(line)]
        if len(hits) > sum(bool(pattern.search(line)) for line in removed):
            found.append(f"{file.path}: {hits[0].strip()[:80]!r} {meaning}")
    if file.after is not None and len(_TEST.findall(new)) < len(_TEST.findall(old)):
        found.append(f"{file.path}: removes a test")
    levels = _levels(added)
    for name, level in _levels(removed).items():
        if levels.get(name, 0.0) < level:
            found.append(f"{file.path}: lowers the threshold {name} from {level:g}")
    return found


def _levels(lines: Iterable[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for line in lines:
        for one in _THRESHOLD.finditer(line):
            name = one["name"].lower()
            found[name] = max(found.get(name, 0.0), float(one["level"]))
    return found


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "replace")


def _workflow(file: FileChange, parse: Parse, fix: Fix) -> list[str]:
    if file.after is None:
        return [f"deletes the workflow {file.path}"]
    before, after = parse(_text(file.before)), parse(_text(file.after))
    if after is None:
        return [f"{file.path} would not parse"]
    return [
        *_raised(file.path, before, after, fix),
        *(_unpinned(file.path, before, after) if before else ()),
        *(_more_lenient(file.path, before, after) if before else ()),
    ]


def _raised(path: str, before: YamlNode | None, after: YamlNode, fix: Fix) -> Iterator[str]:
    granted_before, granted_after = _permissions(before) if before else {}, _permissions(after)
    for where in granted_before.keys() - granted_after.keys():
        yield f"{path}: removes the permissions of {where or 'the workflow'}, so that wider ones hold"
    for where, granted in granted_after.items():
        # A job without its own block has the workflow's. Without either it has defaults that are
        # not known here; reads never exceed them.
        old = granted_before.get(where, granted_before.get(""))
        for scope, level in granted.items():
            had = max((_LEVELS.get(old.get(key, "none"), 2) for key in (scope, "*")), default=0) if old is not None else 1
            if _LEVELS.get(level, 2) <= had:
                continue
            if where and f"{where}:{scope}: {level}" == fix.permission and fix.safety is Safety.REVIEW:
                continue
            yield f"{path}: raises a permission ({where or 'workflow'}: {scope}: {level})"


def _unpinned(path: str, before: YamlNode, after: YamlNode) -> Iterator[str]:
    pinned = [Counter(filter(_COMMIT.search, _uses(root))) for root in (before, after)]
    lost, gained = pinned[0] - pinned[1], pinned[1] - pinned[0]
    unpinned = Counter(map(_action, lost.elements())) - Counter(map(_action, gained.elements()))
    for action in unpinned:
        yield f"{path}: unpins {action}, which was pinned to a commit"


def _more_lenient(path: str, before: YamlNode, after: YamlNode) -> Iterator[str]:
    old = _lenient(before)
    for route, level in _lenient(after).items():
        if level != "false" and old.get(route, "false") != level:
            yield f"{path}: lets {'.'.join(map(str, route[:-1]))} fail silently"


def _action(reference: str) -> str:
    return reference.split("@", 1)[0]


def _lenient(root: YamlNode) -> dict[Route, str]:
    leaves = ((route, text.removeprefix("plain:").lower()) for route, text in root.leaves())
    return {route: text for route, text in leaves if route and route[-1] == "continue-on-error"}


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
