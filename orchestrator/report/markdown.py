"""Markdown that is safe to show: job summary and pull request body.

Nothing from a log can act here: it stands in fences longer than any it contains, mentions and
references are broken, and HTML is escaped.
"""

from __future__ import annotations

import html
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import __version__
from orchestrator.model import Report, Verdict, WorkflowRun
from orchestrator.redact import redact

if TYPE_CHECKING:
    import jinja2

SUMMARY_LIMIT = 1_000_000  # bytes; GitHub drops the whole summary above 1 MiB
BODY_LIMIT = 60_000  # characters; GitHub refuses bodies above 65,536
_ZERO_WIDTH = "\u200b"
_FENCE = re.compile(r"`{3,}")


def fence(text: str, language: str = "") -> str:
    """A code block that its content can't leave."""
    text = redact(text).replace("\r", "").replace("<!--", f"<{_ZERO_WIDTH}!--")
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{text.rstrip()}\n{ticks}"


def inline(text: str) -> str:
    """One line of text in which no markdown, mention, reference or HTML can act."""
    text = " ".join(redact(text).split())[:500]
    text = html.escape(text, quote=False)
    text = re.sub(r"([\\`*_{}\[\]()#+!|~>-])", r"\\\1", text)
    # Neither an escape nor a code span keeps GitHub from linking these.
    return re.sub(r"(@|#|:(?=//)|\bGH(?=\\?-)|\bwww(?=\.))", rf"\1{_ZERO_WIDTH}", text, flags=re.IGNORECASE)


def code(text: str) -> str:
    """One line as a code span that its content can't leave."""
    text = " ".join(redact(text).split())[:500].replace("<!--", f"<{_ZERO_WIDTH}!--")
    ticks = "`" * (max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    space = " " if "`" in text else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def summary(report: Report) -> str:
    """The job summary."""
    text = _template("summary.md.j2").render(report=report, root=report.root_cause, version=__version__)
    return _cut(text, SUMMARY_LIMIT)


def pull_request_body(verdict: Verdict, run: WorkflowRun) -> str:
    """The pull request's description: cause, proof, change, verification, and how to turn this off."""
    text = _template("pull_request.md.j2").render(
        verdict=verdict, issue=verdict.change.planned.issue, fix=verdict.change.planned.fix, run=run, version=__version__
    )
    return _cut(text, BODY_LIMIT)


@cache
def _environment() -> jinja2.Environment:
    import jinja2  # the templates' engine, not needed for a diagnosis

    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=False, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters.update(code=code, fence=fence, inline=inline)
    return environment


def _template(name: str) -> jinja2.Template:
    return _environment().get_template(name)


def _cut(text: str, limit: int) -> str:
    """At most ``limit`` bytes; what was open is closed, and the last lines (our signature and marker) stay."""
    encoded = text.encode()
    if len(encoded) <= limit:
        return text
    *_, signature, marker = text.rstrip("\n").rsplit("\n", 2)
    end = f"\n\n(cut here; the JSON report holds everything)\n\n{signature}\n{marker}\n"
    kept = encoded[: limit - len(end.encode()) - 200].decode("utf-8", "ignore")
    ticks = _open_fence(kept)
    if not ticks:
        kept = kept[: kept.rfind("\n") + 1]
    closing = f"\n{ticks}\n" if ticks else ""
    if kept.count("\n<details>") > kept.count("\n</details>"):
        closing += "\n</details>\n"
    return kept + closing + end


def _open_fence(text: str) -> str:
    ticks = ""
    for line in text.split("\n"):
        found = _FENCE.match(line)
        if found and not ticks:
            ticks = found[0]
        elif found and line == ticks:
            ticks = ""
    return ticks
