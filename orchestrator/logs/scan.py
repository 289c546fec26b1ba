"""One pass over one job log: which rules hit, on which line, in which step.

The whole log is never in memory. A chunk in which nothing fires is only counted; in the others
each line is looked at. The runner's own echo of a script and its environment is skipped, because
a script that *mentions* an error is not an error.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable

from orchestrator.diagnose.matcher import Matcher
from orchestrator.logs.clean import chunks, clean, strip_timestamp
from orchestrator.model import Evidence, Job, LogScan, Match, StepTrace, Zone

_CONTEXT = 3
_MAX_MATCHES = 400
_EXIT = re.compile(rb"##\[error\]Process completed with exit code (\d+)")
_RUN = b"##[group]Run "
_END = b"##[endgroup]"
_ERROR = b"##[error]"
_POST = b"Post job cleanup."
_JOB_NAME = b"Complete job name: "


class _Steps:
    """Follows the runner's markers and remembers the steps seen so far."""

    def __init__(self) -> None:
        self.steps = [StepTrace(ordinal=0, name="Set up job", first_line=1)]
        self.zone = Zone.RUNNER
        self.echo = False
        self.job_name = ""
        self._script: list[str] = []
        self._in_script = False

    @property
    def current(self) -> StepTrace:
        return self.steps[-1]

    def _update(self, **changes: object) -> None:
        from dataclasses import replace

        self.steps[-1] = replace(self.current, **changes)  # type: ignore[arg-type]

    def feed(self, line: bytes, number: int) -> bool:
        """Take one line; true when it may be matched, false when it is the runner's echo."""
        if line.startswith(_RUN):
            self.steps.append(
                StepTrace(
                    ordinal=self.current.ordinal + 1,
                    name=line[len(b"##[group]") :].decode("utf-8", "replace"),
                    first_line=number,
                )
            )
            self.zone, self.echo, self._in_script, self._script = Zone.OUTPUT, True, True, []
            return False
        if self.echo:
            if line.startswith(_END):
                self.echo = False
                self._update(command="\n".join(self._script))
            elif line.startswith((b"shell: ", b"with:", b"env:")):
                self._in_script = False
            elif self._in_script and len(self._script) < 200:
                self._script.append(line.decode("utf-8", "replace"))
            return False
        if line.startswith(_ERROR) and self.zone is not Zone.POST:
            found = _EXIT.match(line)
            code = int(found[1]) if found else self.current.exit_code
            self._update(failed=True, exit_code=code)
        elif line.startswith(_POST):
            self.zone = Zone.POST
        elif self.zone is Zone.RUNNER and line.startswith(_JOB_NAME):
            self.job_name = line[len(_JOB_NAME) :].decode("utf-8", "replace").strip()
        return True

    def zone_of(self, line: bytes) -> Zone:
        if line.startswith(_ERROR) and self.zone is Zone.OUTPUT:
            return Zone.ERROR
        return self.zone


def scan(blocks: Iterable[bytes], matcher: Matcher, *, source: str, job: Job | None = None) -> LogScan:
    """Read one log and return every rule's matches with the steps that the log shows.

    ``source`` names the log in evidence; ``job`` is what GitHub's API said of it, if anything.
    """
    steps = _Steps()
    matches: list[Match] = []
    recent: deque[str] = deque(maxlen=_CONTEXT)
    last_error: Evidence | None = None
    number = size = 0
    for raw, count in chunks(blocks):
        size += len(raw)
        chunk = clean(raw)
        if not steps.echo and b"##[" not in chunk and _POST not in chunk and not matcher.gate(chunk):
            number += count
            recent.clear()
            continue
        for line in chunk.split(b"\n")[:count]:
            number += 1
            text = strip_timestamp(line)
            if not steps.feed(text, number):
                continue
            zone = steps.zone_of(text)
            hits = matcher.line(text) if len(matches) < _MAX_MATCHES else ()
            shown = text.decode("utf-8", "replace")
            if hits or zone is Zone.ERROR:
                evidence = Evidence(line=number, text=shown, source=source, context=tuple(recent))
                if zone is Zone.ERROR and not _EXIT.match(text):
                    last_error = evidence
                for hit in hits:
                    matches.append(
                        Match(
                            rule_id=hit.rule_id,
                            pattern=hit.pattern,
                            evidence=evidence,
                            captures=hit.captures,
                            zone=zone,
                            step=steps.current.ordinal,
                            step_name=steps.current.name,
                            job=job,
                        )
                    )
            recent.append(shown)
    return LogScan(
        source=source,
        job=job,
        matches=tuple(matches),
        steps=tuple(steps.steps),
        job_name=job.name if job else steps.job_name,
        lines=number,
        bytes=size,
        last_error=last_error,
    )
