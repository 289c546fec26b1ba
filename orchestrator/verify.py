"""Climbs the ladder: parsed, checked, replayed. ``observed`` is for GitHub to say, later.

A rung that cannot be tried is left out with a note; a rung that breaks fails the change.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Sequence

from orchestrator import gates
from orchestrator.model import (
    RUNGS,
    Change,
    FileChange,
    LogScan,
    Mode,
    Rung,
    Splice,
    ToolCheck,
    Verdict,
    Verification,
)
from orchestrator.ports import Command, Ports, Result, Session, Tree
from orchestrator.replay import NotReplayable, Replay, Script, plan_replay
from orchestrator.workflow import FOLDER
from orchestrator.yamlnode import differing_routes

NEEDED = {
    Mode.PATCH: Rung.CHECKED,
    Mode.APPLY: Rung.CHECKED,
    Mode.COMMIT: Rung.CHECKED,
    Mode.PULL_REQUEST: Rung.CHECKED,
    Mode.PUSH: Rung.REPLAYED,
}


def verify(change: Change, tree: Tree, ports: Ports, log: LogScan | None, workflow_path: str) -> Verdict:
    """Try every rung from below and stop at the first that breaks."""
    forbidden = gates.violations(change, ports.parse_yaml)
    if forbidden:
        return Verdict(change=change, verification=(), failed="a safety rule forbids it: " + "; ".join(forbidden))
    climbed: list[Verification] = []
    rungs: tuple[Callable[[], Verification], ...] = (
        lambda: _parsed(change, ports),
        lambda: _checked(change, tree, ports),
        lambda: _replayed(change, tree, ports, log, workflow_path),
    )
    for climb in rungs:
        outcome = climb()
        climbed.append(outcome)
        if outcome.passed is False:
            return Verdict(change=change, verification=tuple(climbed), failed=f"{outcome.rung}: {outcome.note}")
    return Verdict(change=change, verification=tuple(climbed))


def shortfall(verdict: Verdict, mode: Mode) -> str:
    """Why the change may not be published in this mode, or an empty string."""
    if verdict.failed:
        return verdict.failed
    needed = NEEDED.get(mode)
    if needed is None:
        return ""
    highest = verdict.highest
    if highest is None or RUNGS.index(highest) < RUNGS.index(needed):
        notes = "; ".join(v.note for v in verdict.verification if not v.passed and v.note)
        return f"it was not {needed}: {notes or 'no check could be run'}"
    return ""


# --- parsed ---------------------------------------------------------------------------------


def _parsed(change: Change, ports: Ports) -> Verification:
    for file in change.files:
        wrong = _parse_error(file, change, ports)
        if wrong:
            return Verification(rung=Rung.PARSED, passed=False, note=wrong)
    return Verification(rung=Rung.PARSED, passed=True, note="every changed file parses and differs only where meant")


def _parse_error(file: FileChange, change: Change, ports: Ports) -> str:
    if file.after is None:
        return ""
    try:
        after = file.after.decode()
        if file.path.endswith((".yml", ".yaml")):
            return _yaml_error(file, after, change, ports)
        if file.path.endswith(".json"):
            json.loads(after)
        elif file.path.endswith(".toml"):
            tomllib.loads(after)
    except (UnicodeDecodeError, ValueError) as wrong:
        return f"{file.path} does not parse after the change: {wrong}"
    return ""


def _yaml_error(file: FileChange, after: str, change: Change, ports: Ports) -> str:
    new = ports.parse_yaml(after)
    if new is None:
        return f"{file.path} does not parse after the change"
    old = ports.parse_yaml((file.before or b"").decode())
    splices = [op for op in change.planned.fix.operations if isinstance(op, Splice) and op.path == file.path]
    if old is None or not splices:
        return ""
    claimed = [tuple(op.route) for op in splices]
    for route in sorted(differing_routes(old, new), key=str):
        if not any(route[: len(claim)] == claim for claim in claimed):
            return f"{file.path} would also change at {'.'.join(map(str, route))}"
    return ""


# --- checked --------------------------------------------------------------------------------


def _checked(change: Change, tree: Tree, ports: Ports) -> Verification:
    ports.progress.stage("checking the change")
    notes = []
    for file in change.files:
        if file.path.startswith(FOLDER) and file.after is not None:
            before = ports.checker.findings(file.path, (file.before or b"").decode())
            after = ports.checker.findings(file.path, file.after.decode())
            if before is None or after is None:
                return Verification(rung=Rung.CHECKED, passed=None, note="no workflow checker is installed")
            new = sorted(after - before)
            if new:
                return Verification(
                    rung=Rung.CHECKED, passed=False,
                    note=f"the workflow checker finds something new: {new[0]}",
                )
            notes.append(f"{file.path}: no new finding")
    outcome: Verification | None = None
    for check in change.planned.fix.checks:
        outcome = _tool_check(check, change, tree, ports)
        if not outcome.passed:
            return outcome
    return outcome or Verification(rung=Rung.CHECKED, passed=True, note="; ".join(notes) or "the files are well-formed")


def _tool_check(check: ToolCheck, change: Change, tree: Tree, ports: Ports) -> Verification:
    command = Command(argv=check.argv, requirement=check.requirement, cwd=check.cwd, network=check.network)
    with ports.sandbox.session(tree) as session:
        before = session.run(command)
    with ports.sandbox.session(tree, change.files) as session:
        after = session.run(command)
    if before.unavailable or after.unavailable:
        return Verification(
            rung=Rung.CHECKED, passed=None, command=str(command), note=before.unavailable or after.unavailable
        )
    passed = before.exit_code != 0 and after.exit_code == 0
    note = "" if passed else (
        f"`{command}` does not fail before the change" if before.exit_code == 0
        else f"`{command}` still fails after the change"
    )
    return Verification(
        rung=Rung.CHECKED, passed=passed, command=str(command),
        before=before.exit_code, after=after.exit_code, note=note,
    )


# --- replayed -------------------------------------------------------------------------------


def _replayed(change: Change, tree: Tree, ports: Ports, log: LogScan | None, path: str) -> Verification:
    replay = plan_replay(change.planned.issue, tree, log, path)
    if isinstance(replay, NotReplayable):
        return Verification(rung=Rung.REPLAYED, passed=None, note=f"not replayed: {replay.reason}")
    shown = replay.scripts[-1].text.strip()
    ports.progress.stage("replaying the failing step, before and after")
    before, why = _run(replay, tree, (), ports)
    if why:
        return Verification(rung=Rung.REPLAYED, passed=None, command=shown, note=f"not replayed: {why}")
    there = _exit_code(change, log)
    if before == 0 or (there is not None and before != there):
        here = "passes here even without the change" if before == 0 else f"fails here with exit code {before}, on GitHub with {there}"
        return Verification(rung=Rung.REPLAYED, passed=None, command=shown, note=f"not replayed: the step {here}")
    notes: list[str] = []
    after, why = _run(replay, tree, change.files, ports, notes)
    if why:
        return Verification(rung=Rung.REPLAYED, passed=None, command=shown, note=f"not replayed: {why}")
    return Verification(
        rung=Rung.REPLAYED, passed=after == 0, command=shown, before=before, after=after,
        note="; ".join(notes) if after == 0 else "the failing step still fails after the change",
    )


def _exit_code(change: Change, log: LogScan | None) -> int | None:
    """How the failing step ended on GitHub: another end here is another failure."""
    command = change.planned.issue.command
    return next((s.exit_code for s in log.steps if s.command == command and s.exit_code is not None), None) if log else None


def _run(
    replay: Replay, tree: Tree, overlay: Sequence[FileChange], ports: Ports, notes: list[str] | None = None
) -> tuple[int, str]:
    """The failing step's exit code; a reason when an earlier step keeps it from being reached."""
    with ports.sandbox.session(tree, overlay) as session:
        for script in replay.scripts:
            result = _step(session, script, replay)
            if result.unavailable:
                return 0, result.unavailable
            if result.exit_code != 0:
                if script is not replay.scripts[-1] and not overlay:
                    return 0, f"the earlier step {script.name!r} fails here ({_last_line(result.output)})"
                return result.exit_code, ""
        if notes is not None:
            notes += session.notes
    return 0, ""


def _step(session: Session, script: Script, replay: Replay) -> Result:
    return session.run(
        Command(
            argv=script.shell, script=script.text, cwd=script.cwd, env=dict(script.env),
            environment=replay.environment, network=True, timeout=900.0,
        )
    )


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it printed nothing"
