"""Makes a planned fix on a throw-away copy. Nothing of the user's is touched here."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from fnmatch import fnmatchcase

from orchestrator.errors import ServiceError
from orchestrator.model import Change, FileChange, PlannedFix, Refused, Splice, ToolRun
from orchestrator.ports import Command, Sandbox, Tree
from orchestrator.redact import redact

NETWORK_TIMEOUT = 600.0

_ODD = re.compile(r'[\x00-\x1f\x7f"\\]')


def apply(planned: PlannedFix, tree: Tree, sandbox: Sandbox) -> Change | Refused:
    """Run the fix's operations; what a tool changed outside its claim refuses the whole fix."""
    splices = [op for op in planned.fix.operations if isinstance(op, Splice)]
    try:
        files = {change.path: change for change in splice(tree, splices)}
    except ValueError as wrong:
        return Refused(planned=planned, reason=str(wrong))
    for operation in planned.fix.operations:
        if isinstance(operation, ToolRun):
            outcome = _run_tool(operation, tree, tuple(files.values()), sandbox)
            if isinstance(outcome, str):
                return Refused(planned=planned, reason=outcome)
            files = {change.path: change for change in outcome}
    changed = tuple(f for _, f in sorted(files.items()) if f.before != f.after)
    if not changed:
        return Refused(planned=planned, reason="the mend changes nothing; the repository may be healed already")
    return Change(planned=planned, files=changed, diff="".join(map(unified_diff, changed)))


def splice(tree: Tree, splices: list[Splice]) -> list[FileChange]:
    """Apply character splices, last one first. Raises ValueError when a text is not as expected."""
    by_path: dict[str, list[Splice]] = defaultdict(list)
    for one in splices:
        by_path[one.path].append(one)
    changes = []
    for path, parts in by_path.items():
        before = tree.text(path)
        if before is None:
            raise ValueError(f"{path} is not a readable text file")
        text = before
        limit = len(text)
        for start, end, old, new in sorted({(p.start, p.end, p.old, p.new) for p in parts}, reverse=True):
            if not 0 <= start <= end <= limit or text[start:end] != old:
                raise ValueError(f"{path} does not read {old!r} where it should; nothing was changed")
            text = text[:start] + new + text[end:]
            limit = start
        changes.append(FileChange(path=path, before=before.encode(), after=text.encode()))
    return changes


def _run_tool(
    operation: ToolRun, tree: Tree, so_far: tuple[FileChange, ...], sandbox: Sandbox
) -> tuple[FileChange, ...] | str:
    command = Command(
        argv=operation.argv,
        requirement=operation.requirement,
        cwd=operation.cwd,
        env=operation.env,
        network=operation.network,
        timeout=NETWORK_TIMEOUT if operation.network else 300.0,
    )
    with sandbox.session(tree, so_far) as session:
        result = session.run(command)
        if result.unavailable:
            return f"{operation.requirement or operation.argv[0]} is not to be had here: {result.unavailable}"
        if result.exit_code != 0:
            last = next((line for line in reversed(result.output.splitlines()) if line.strip()), "")
            return f"`{command}` ended with exit code {result.exit_code}: {redact(last.strip())[:300]}"
        try:
            changes = session.changes(operation.claims)
        except ServiceError as odd:
            return f"`{command}` left something odd: {odd}"
    ours = {change.path for change in so_far}
    stray = [
        change.path
        for change in changes
        if change.path not in ours and not any(_claimed(change.path, claim) for claim in operation.claims)
    ]
    if stray:
        return f"`{command}` also changed {', '.join(stray[:5])}, which is outside this mend"
    return changes


def _claimed(path: str, claim: str) -> bool:
    # In the patterns that tools take, **/ also stands for no folder at all.
    return fnmatchcase(path, claim) or fnmatchcase(path, claim.replace("**/", ""))


def unified_diff(change: FileChange) -> str:
    """One file's change as ``git apply`` reads it. Binary files are only named."""
    try:
        before = (change.before or b"").decode().splitlines(keepends=True)
        after = (change.after or b"").decode().splitlines(keepends=True)
    except UnicodeDecodeError:
        return f"diff --git {_quoted('a/' + change.path)} {_quoted('b/' + change.path)}\nBinary files differ\n"
    old, new = _quoted(f"a/{change.path}"), _quoted(f"b/{change.path}")
    head = f"diff --git {old} {new}\n"
    if change.before is None:
        head, old = head + "new file mode 100644\n", "/dev/null"
    if change.after is None:
        head, new = head + "deleted file mode 100644\n", "/dev/null"
    lines = []
    for line in difflib.unified_diff(_lines(before), _lines(after), old, new):
        lines.append(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
    return head + "".join(lines)


def _quoted(name: str) -> str:
    # As git writes names that could not be told from what is around them.
    if not _ODD.search(name):
        return name
    return '"' + _ODD.sub(lambda odd: f"\\{ord(odd[0]):03o}", name) + '"'


def _lines(parts: list[str]) -> list[str]:
    # str.splitlines also cuts at form feeds and the like; git cuts at \n alone.
    return [line + "\n" for line in "".join(parts).split("\n")[:-1]] + (
        [tail] if (tail := "".join(parts).split("\n")[-1]) else []
    )
