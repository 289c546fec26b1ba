"""The one-file format of a catalogue case: reading, judging and re-blessing.

A case is a job log with what is expected of it, and the repository's files before and after::

    #=SOURCE=# where the log comes from, or how it was produced
    #=RUN=# event=push
    #=WINNER=# family/kind        only when another rule than the folder's own must win
    #=DECISION=# fix
    #=SAFETY=# review             only for a fix
    #=BECAUSE=# part of the reason, for every other decision
    #=SANDBOX=# needed            only when the fix runs a tool
    #=FILE=# log
    2026-01-01T00:00:00.0000000Z some line
    #=MATCH=# 2026-01-01T00:00:00.0000000Z the line that must win, ‹captured› parts marked
    #=FILE=# before/requirements.txt
    #=FILE=# after/requirements.txt

``UPDATE_CASES=1 pytest tests/test_catalogue.py`` writes what is the case now; the diff is then
the review. Files in a case end with a newline; other endings belong into unit tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import re2

from orchestrator import catalogue
from orchestrator.apply import apply
from orchestrator.catalogue.rule import Rule
from orchestrator.diagnose.judge import judge
from orchestrator.diagnose.matcher import Matcher
from orchestrator.edges import yaml
from orchestrator.logs.clean import clean, strip_timestamp
from orchestrator.logs.scan import scan
from orchestrator.model import (
    Decision,
    FileChange,
    Job,
    LogScan,
    Plan,
    PlannedFix,
    Refused,
    WorkflowIssue,
    WorkflowRun,
)
from orchestrator.plan import Policy, make_plan
from orchestrator.ports import Command, Ports, Result, Sandbox, Tree
from orchestrator.verify import verify
from orchestrator.yamlnode import YamlNode

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
_ORDER = ("SOURCE", "RUN", "WINNER", "DECISION", "SAFETY", "BECAUSE", "SANDBOX")
_FILE, _MATCH = "#=FILE=# ", "#=MATCH=# "
_OPEN, _CLOSE = "‹", "›"


class MemoryTree:
    """A repository's files in a dictionary."""

    def __init__(self, files: Mapping[str, str | bytes]) -> None:
        self._files = {p: f.encode() if isinstance(f, str) else f for p, f in files.items()}

    def paths(self) -> Sequence[str]:
        return sorted(self._files)

    def read(self, path: str) -> bytes | None:
        return self._files.get(path)

    def text(self, path: str) -> str | None:
        data = self._files.get(path)
        try:
            return None if data is None else data.decode()
        except UnicodeDecodeError:
            return None

    def yaml(self, path: str) -> YamlNode | None:
        text = self.text(path)
        return None if text is None else yaml.parse(text)


class NoSandbox:
    """Stands where a tool would have to be run, and says that there is none."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    @contextmanager
    def session(self, tree: Tree, overlay: Iterable[FileChange] = ()) -> Iterator[NoSandbox]:
        yield self

    def run(self, command: Command) -> Result:
        return Result(exit_code=0, unavailable="this test runs no tools")

    def changes(self, new: Sequence[str] = ()) -> tuple[FileChange, ...]:
        return ()


class NoFindings:
    """A workflow checker that is content with everything; the real one has tests of its own."""

    def findings(self, path: str, text: str) -> frozenset[str] | None:
        return frozenset()


@dataclass(frozen=True, kw_only=True)
class Case:
    """A case file, taken apart. ``headers`` keep every line of a kind, in order."""

    path: Path
    headers: Mapping[str, tuple[str, ...]]
    log: str
    marked: str = ""
    before: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)

    @property
    def rule_id(self) -> str:
        """The kind in whose folder the case lies."""
        kind = self.path.parent.parent
        return f"{kind.parent.name}/{kind.name}"

    @property
    def name(self) -> str:
        return f"{self.rule_id}/{self.path.stem}"

    def header(self, name: str) -> str:
        """All lines of one header as one text."""
        return " ".join(self.headers.get(name, ()))

    @property
    def winner(self) -> str:
        """The rule that must win, or an empty string when nothing may be recognised."""
        return (self.header("WINNER") or self.rule_id) if self.marked else ""

    @property
    def needs_sandbox(self) -> bool:
        return bool(self.header("SANDBOX"))

    def run(self) -> WorkflowRun:
        """The run as GitHub would have recorded it."""
        facts = dict(line.split("=", 1) for line in self.headers.get("RUN", ()))
        return WorkflowRun(
            run_id="1",
            workflow_name=facts.get("workflow", ""),
            path=facts.get("path", ""),
            event=facts.get("event", "push"),
            actor=facts.get("actor", ""),
            attempt=int(facts.get("attempt", "1")),
            repository="example/project",
            repository_id=1,
            head_repository_id=2 if facts.get("fork") == "yes" else 1,
            jobs=(Job(job_id=1, name=facts.get("job", "build"), conclusion="failure"),),
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the whole catalogue, the plan and the recipe make of a case."""

    issues: tuple[WorkflowIssue, ...]
    scan: LogScan
    plan: Plan
    after: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def root(self) -> WorkflowIssue | None:
        return self.plan.issues[0] if self.plan.issues else None


def case_files(folder: Path = catalogue.FOLDER) -> list[Path]:
    """Every case of the catalogue."""
    return sorted(folder.glob("*/*/cases/*.case"))


def read(path: Path) -> Case:
    """Take a case file apart. Raises ValueError naming the file and what is wrong with it."""
    headers: dict[str, list[str]] = {}
    files: dict[str, list[str]] = {}
    current: list[str] | None = None
    marked = ""
    with path.open(encoding="utf-8", newline="") as stream:
        text = stream.read()
    for line in _lines(text):
        if line.startswith(_FILE):
            current = files.setdefault(line[len(_FILE) :].strip(), [])
        elif current is None:
            name, _, value = line.removeprefix("#=").partition("=# ")
            if name not in _ORDER:
                raise ValueError(f"{path}: unknown header {line.strip()!r}")
            headers.setdefault(name, []).append(value.strip())
        elif line.startswith(_MATCH):
            if marked:
                raise ValueError(f"{path}: more than one line is marked")
            marked = line.removeprefix(_MATCH)
            current.append(unmarked(marked))
        else:
            current.append(line)
    if "log" not in files:
        raise ValueError(f"{path}: it holds no log")
    parts = {name: "".join(lines) for name, lines in files.items()}
    return Case(
        path=path,
        headers={name: tuple(values) for name, values in headers.items()},
        log=parts.pop("log"),
        marked=marked,
        before={n.removeprefix("before/"): t for n, t in parts.items() if n.startswith("before/")},
        after={n.removeprefix("after/"): t for n, t in parts.items() if n.startswith("after/")},
    )


def unmarked(line: str) -> str:
    """A marked line as it stands in the log."""
    return line.replace(_OPEN, "").replace(_CLOSE, "")


def _lines(text: str) -> list[str]:
    # str.splitlines also cuts at form feeds and lone carriage returns, which logs contain.
    return [line + "\n" for line in text.removesuffix("\n").split("\n")]


@cache
def rules() -> Mapping[str, Rule]:
    """The whole catalogue."""
    return catalogue.load()


@cache
def _matcher() -> Matcher:
    return Matcher(rules().values())


def evaluate(case: Case, sandbox: Sandbox | None = None, *, tree: MemoryTree | None = None) -> Outcome:
    """Diagnose, plan, and make and verify the fix as far as the sandbox allows."""
    run, tree = case.run(), tree or MemoryTree(case.before)
    log = scan([case.log.encode()], _matcher(), source=f"{run.jobs[0].name}.txt", job=run.jobs[0])
    issues = judge([log], rules(), run, now=NOW)
    plan = make_plan(issues, rules(), run=run, tree=tree, policy=Policy())
    outcome = Outcome(issues=issues, scan=log, plan=plan)
    if plan.fix is None or (case.needs_sandbox and sandbox is None):
        return outcome
    return _mended(outcome, plan.fix, tree, sandbox or NoSandbox(), run)


def _mended(outcome: Outcome, planned: PlannedFix, tree: MemoryTree, sandbox: Sandbox, run: WorkflowRun) -> Outcome:
    change = apply(planned, tree, sandbox)
    if isinstance(change, Refused):
        return replace(outcome, problem=change.reason)
    ports = Ports(now=NOW, parse_yaml=yaml.parse, checker=NoFindings(), sandbox=sandbox)
    verdict = verify(change, tree, ports, outcome.scan, run.path)
    after = {file.path: (file.after or b"").decode() for file in change.files}
    return replace(outcome, after=after, problem=verdict.failed)


def render(case: Case, outcome: Outcome) -> str:
    """The case file as it would have to read for this outcome; equal to it when all is well."""
    root = outcome.root
    headers: dict[str, tuple[str, ...]] = {
        name: case.headers[name] for name in ("SOURCE", "RUN", "SANDBOX") if name in case.headers
    }
    if root is not None:
        if root.issue_type != case.rule_id:
            headers["WINNER"] = (root.issue_type,)
        headers["DECISION"] = (str(root.decision),)
        if outcome.plan.fix is not None:
            headers["SAFETY"] = (str(outcome.plan.fix.fix.safety),)
        elif root.decision != Decision.FIX:
            wanted = case.header("BECAUSE")
            headers["BECAUSE"] = (wanted if wanted and wanted in root.decision_reason else root.decision_reason,)
    after = case.after if case.needs_sandbox and not outcome.after else outcome.after
    sections = [("log", _marked_log(case.log, outcome))]
    sections += [(f"before/{path}", text) for path, text in case.before.items()]
    sections += [(f"after/{path}", text) for path, text in after.items()]
    head = "".join(f"#={name}=# {value}\n" for name in _ORDER for value in headers.get(name, ()))
    return head + "".join(f"{_FILE}{name}\n{text}" for name, text in sections)


def _marked_log(log: str, outcome: Outcome) -> str:
    if outcome.root is None:
        return log
    lines = _lines(log)
    at = outcome.root.evidence[0].line - 1
    lines[at] = _MATCH + _marked(lines[at], rules()[outcome.root.issue_type])
    return "".join(lines)


def _marked(line: str, rule: Rule) -> str:
    """The line with what the rule's first matching pattern captures in it between marks."""
    raw = line.encode()
    text = strip_timestamp(clean(raw.rstrip(b"\n")))
    for pattern in rule.patterns:
        found = re2.search(pattern, text)
        if found is None:
            continue
        shift = raw.rfind(text)
        spans = (found.span(number) for number in range(1, found.re.groups + 1) if found[number])
        for start, end in sorted(spans, reverse=True):
            # Colours within the line part its text, so that only the captured words can be looked for.
            at = shift + start if shift >= 0 else raw.rfind(text[start:end])
            raw = b"".join((raw[:at], _OPEN.encode(), text[start:end], _CLOSE.encode(), raw[at + end - start :]))
        return raw.decode()
    return line
