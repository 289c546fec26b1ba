"""One pass over one job log: which rules hit, on which line, in which step.

The whole log is never in memory. A chunk in which nothing fires is only counted; in the others
each line is looked at. The runner's own echo of a script and its environment is skipped, because
a script that *mentions* an error is not an error.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable

from orchestrator.diagnose.matcher import Hit, Matcher
from orchestrator.logs.clean import chunks, clean, strip_timestamp
from orchestrator.model import Evidence, Job, LogScan, Match, StepTrace, Zone

_CONTEXT = 3
_MAX_MATCHES = 5_000
_MAX_STEPS = 10_000
_MAX_OF_A_RULE = 50  # with different captures, in one step
_EXIT = re.compile(rb"##\[error\]Process completed with exit code (-?\d{1,10})")
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
        self._header: tuple[bytes, int] | None = None
        self._script: list[str] = []
        self._in_script = False

    @property
    def busy(self) -> bool:
        """Whether the next line has a meaning by its place."""
        return self.echo or self._header is not None

    @property
    def current(self) -> StepTrace:
        return self.steps[-1]

    def _update(self, **changes: object) -> None:
        from dataclasses import replace

        self.steps[-1] = replace(self.current, **changes)  # type: ignore[arg-type]

    def feed(self, line: bytes, number: int) -> bool:
        """Take one line; true when it may be matched, false when it is the runner's echo."""
        if line.startswith(_RUN) and len(self.steps) < _MAX_STEPS:
            self._header, self.echo = (line[len(_RUN) :], number), False
            return False
        if self._header is not None:
            if self._continues(line):
                self._begin(*self._header)
            elif line:
                self._header = None
            else:
                return False  # an empty line may begin the script
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

    def _continues(self, line: bytes) -> bool:
        """Whether the line is what the runner writes under its header; a tool's own group has
        anything else there."""
        assert self._header is not None
        first = self._header[0].strip()
        return line.strip() == first or line.startswith((b"with:", b"env:", b"shell: ", _END))

    def _begin(self, first: bytes, number: int) -> None:
        name = f"Run {first.decode('utf-8', 'replace')}"
        self.steps.append(StepTrace(ordinal=self.current.ordinal + 1, name=name, first_line=number))
        self.zone, self.echo, self._in_script, self._script = Zone.OUTPUT, True, True, []
        self._header = None

    def zone_of(self, line: bytes) -> Zone:
        if line.startswith(_ERROR) and self.zone is Zone.OUTPUT:
            return Zone.ERROR
        return self.zone


class _Matches:
    """The first match of each kind in each step; a noisy log can't crowd out what comes last."""

    def __init__(self, job: Job | None) -> None:
        self.kept: list[Match] = []
        self._job = job
        self._seen: set[tuple[object, ...]] = set()
        self._counts: Counter[tuple[str, int]] = Counter()

    def add(self, hit: Hit, evidence: Evidence, zone: Zone, step: StepTrace) -> None:
        key = (hit.rule_id, tuple(sorted(hit.captures.items())), zone, step.ordinal)
        of_rule = (hit.rule_id, step.ordinal)
        if key in self._seen or self._counts[of_rule] >= _MAX_OF_A_RULE or len(self.kept) >= _MAX_MATCHES:
            return
        self._seen.add(key)
        self._counts[of_rule] += 1
        self.kept.append(
            Match(
                rule_id=hit.rule_id,
                pattern=hit.pattern,
                evidence=evidence,
                captures=hit.captures,
                zone=zone,
                step=step.ordinal,
                step_name=step.name,
                job=self._job,
            )
        )


def scan(blocks: Iterable[bytes], matcher: Matcher, *, source: str, job: Job | None = None) -> LogScan:
    """Read one log and return every rule's matches with the steps that the log shows.

    ``source`` names the log in evidence; ``job`` is what GitHub's API said of it, if anything.
    """
    steps = _Steps()
    matches = _Matches(job)
    recent: deque[bytes] = deque(maxlen=_CONTEXT)
    last_error: Evidence | None = None
    number = size = 0
    for raw, count in chunks(blocks):
        size += len(raw)
        chunk = clean(raw)
        if not steps.busy and b"##[" not in chunk and _POST not in chunk and not matcher.gate(chunk):
            number += count
            recent.extend(chunk.removesuffix(b"\n").rsplit(b"\n", _CONTEXT)[-min(count, _CONTEXT) :])
            continue
        for line in chunk.split(b"\n")[:count]:
            number += 1
            text = strip_timestamp(line)
            if not steps.feed(text, number):
                recent.clear()
                continue
            zone = steps.zone_of(text)
            hits = matcher.line(text)
            said = zone is Zone.ERROR and not _EXIT.match(text)
            if hits or said:
                context = tuple(strip_timestamp(one).decode("utf-8", "replace") for one in recent)
                evidence = Evidence(line=number, text=text.decode("utf-8", "replace"), source=source, context=context)
                last_error = evidence if said else last_error
                for hit in hits:
                    matches.add(hit, evidence, zone, steps.current)
            recent.append(line)
    return LogScan(
        source=source,
        job=job,
        matches=tuple(matches.kept),
        steps=tuple(steps.steps),
        job_name=job.name if job else steps.job_name,
        lines=number,
        bytes=size,
        last_error=last_error,
    )
