"""The report for a terminal. Text from logs is stripped of control characters first."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from orchestrator.model import Decision, Evidence, FixResult, Report, WorkflowIssue
from orchestrator.redact import redact

_DECISION_STYLE = {
    Decision.FIX: "bold green",
    Decision.RERUN: "bold cyan",
    Decision.GUIDANCE: "bold yellow",
    Decision.DECLINE: "bold red",
}
_DIFF_STYLE = {"+++": "bold", "---": "bold", "diff ": "bold", "+": "green", "-": "red", "@@": "cyan"}
_MORE = 8


def printable(text: str) -> str:
    """Redacted, and without the control characters by which a log could drive the terminal."""
    return "".join(c if c.isprintable() else " " for c in redact(text)).strip()


def show(report: Report, console: Console) -> None:
    """Print the whole report."""
    if report.skipped:
        console.print(Text(f"Nothing was done: {printable(report.skipped)}.", style="yellow"))
    for note in report.notes:
        console.print(Text(printable(note), style="yellow"))
    root = report.root_cause
    if root is None:
        if not report.skipped:
            console.print(Text("No root cause was recognised. Nothing was changed.", style="bold yellow"))
        return
    console.print(_cause(root))
    for fix in report.fixes:
        console.print(_fix(fix))
    if report.publication.note and not report.fixes:
        console.print(Text(f"  {printable(report.publication.note)}"))
    if len(report.issues) > 1:
        console.print(_others(report.issues[1:]))


def _cause(issue: WorkflowIssue) -> RenderableType:
    decision = Text.assemble(
        (f" {issue.decision} ", f"reverse {_DECISION_STYLE[Decision(issue.decision)]}"),
        f" {printable(issue.decision_reason)}",
    )
    where = " › ".join(filter(None, (issue.job_name, issue.step_name)))
    rows: list[RenderableType] = [
        Text(),
        Text.assemble(("Root cause  ", "bold"), (printable(issue.fix_description), "bold")),
        Text(f"            {issue.issue_type} · {issue.category} · confidence {issue.confidence}", style="dim"),
        Text(f"            {printable(where)}", style="dim"),
        Text(),
        *(_evidence(one) for one in issue.evidence[:1]),
        Text(),
        decision,
        Text(),
    ]
    if issue.advice and issue.decision != Decision.FIX:
        rows.append(Padding(Text(printable(issue.advice)), (0, 2)))
    return Group(*rows)


def _evidence(evidence: Evidence) -> RenderableType:
    rows = Table.grid(padding=(0, 1))
    rows.add_column(justify="right", style="dim")
    rows.add_column(overflow="fold")
    first = evidence.line - len(evidence.context)
    for offset, line in enumerate(evidence.context):
        rows.add_row(str(first + offset), Text(printable(line), style="dim"))
    rows.add_row(Text(f"▶ {evidence.line}", style="bold red"), Text(printable(evidence.text), style="bold"))
    return Padding(Group(Text(printable(evidence.source), style="dim underline"), rows), (0, 2))


def _fix(fix: FixResult) -> RenderableType:
    rows: list[RenderableType] = []
    if fix.explanation:
        rows.append(Padding(Text(printable(fix.explanation)), (0, 2, 1, 2)))
    if fix.diff:
        rows.append(Padding(Group(*map(_diff_line, redact(fix.diff).splitlines())), (0, 2, 1, 2)))
    table = Table.grid(padding=(0, 2))
    for rung in fix.verification:
        mark = {True: ("✓", "green"), False: ("✗", "red"), None: ("–", "dim")}[rung.passed]
        codes = f"exit {rung.before} → {rung.after}" if rung.before is not None and rung.after is not None else ""
        told = (rung.command, rung.note) if rung.passed else (rung.note or rung.command,)
        what = " · ".join(printable(text) for text in told if text)
        table.add_row(Text(*mark), Text(str(rung.rung), style="bold"), Text(codes, style="green" if rung.passed else ""), Text(what, style="dim"))
    rows.append(Padding(table, (0, 2, 1, 2)))
    rows.append(_publication(fix))
    return Group(*rows)


def _diff_line(line: str) -> Text:
    style = next((style for start, style in _DIFF_STYLE.items() if line.startswith(start)), "")
    return Text("".join(c if c.isprintable() or c == "\t" else " " for c in line), style=style)


def _publication(fix: FixResult) -> RenderableType:
    if not fix.success:
        return Text.assemble(("Not published  ", "bold red"), printable(fix.error_message or ""))
    done = fix.publication
    where = " ".join(filter(None, (done.url, done.branch, done.commit_sha[:12], done.path)))
    line = Text.assemble((f" {done.kind} ", "reverse bold green"), f" {printable(where) or printable(done.note)}")
    return Group(line, Text(f"  {printable(done.note)}", style="dim")) if where and done.note else line


def _others(issues: tuple[WorkflowIssue, ...]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for issue in issues[:_MORE]:
        table.add_row(
            Text(issue.issue_type, style="dim"), Text(f"line {issue.evidence[0].line}", style="dim"),
            Text(printable(issue.evidence[0].text)[:120], style="dim"),
        )  # fmt: skip
    more = len(issues) - _MORE
    rows: list[RenderableType] = [Text(), Text("Also seen", style="dim bold"), Padding(table, (0, 2))]
    if more > 0:
        rows.append(Text(f"  and {more} more (see --format json)", style="dim"))
    return Group(*rows)
