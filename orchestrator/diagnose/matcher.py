"""All patterns of all rules at once, in time linear in the log, whatever the patterns.

RE2 compiles every pattern into one automaton. It is asked twice: once for a chunk of many lines
(most chunks fire nothing and are done), then for each line of a chunk that fired. Only a line
that a pattern surely matches is searched again for its named groups.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import re2

from orchestrator.catalogue.rule import Rule
from orchestrator.errors import UsageError
from orchestrator.logs.clean import TIMESTAMP

_MAX_MEMORY = 64 << 20


@dataclass(frozen=True, slots=True)
class Hit:
    """One pattern of one rule on one line."""

    rule_id: str
    pattern: int
    captures: Mapping[str, str]


def _options() -> re2.Options:
    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False
    return options


# Escapes and character classes as they are; the anchors outside them are what is wanted.
_TOKEN = re.compile(r"\\[AzZ]|\\.|\[\^?\]?(?:\[:[^\]]*:\]|\\.|[^\]\\])*\]|[\^$]", re.DOTALL)
_START = f"(?:^(?:{TIMESTAMP.decode()})?|\\r)"
_END = r"\r*$"


def _in_a_chunk(pattern: str) -> str:
    """The pattern with its anchors made to hold in raw lines: after a timestamp or a progress bar."""
    anchors = {"^": _START, "\\A": _START, "$": _END, "\\z": _END}
    return _TOKEN.sub(lambda token: anchors.get(token[0], token[0]), pattern)


class Matcher:
    """The compiled catalogue. Raises UsageError for a pattern that RE2 refuses, naming its rule."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._patterns = [
            (rule.id, index, pattern) for rule in rules for index, pattern in enumerate(rule.patterns)
        ]
        self._compiled: dict[int, re2._Regexp] = {}
        self._gate = re2.Set.SearchSet(_options())
        self._line = re2.Set.SearchSet(_options())
        for rule_id, _, pattern in self._patterns:
            try:
                self._line.Add(pattern)
                self._gate.Add(f"(?m){_in_a_chunk(pattern)}")
            except re2.error as refused:
                reason = refused.args[0]
                reason = reason.decode() if isinstance(reason, bytes) else reason
                raise UsageError(
                    f"rule {rule_id}: pattern {pattern!r} is not a linear-time (RE2) expression: {reason}"
                ) from None
        self._empty = not self._patterns
        if not self._empty:
            self._gate.Compile()
            self._line.Compile()

    def gate(self, chunk: bytes) -> bool:
        """Whether any pattern may match some line of this chunk."""
        return not self._empty and bool(self._gate.Match(chunk))

    def line(self, line: bytes) -> list[Hit]:
        """Every pattern that matches this one line, with its named groups."""
        if self._empty:
            return []
        return [self._hit(number, line) for number in sorted(self._line.Match(line) or ())]

    def _hit(self, number: int, line: bytes) -> Hit:
        rule_id, index, pattern = self._patterns[number]
        if number not in self._compiled:
            self._compiled[number] = re2.compile(pattern, _options())
        found = self._compiled[number].search(line)
        groups = found.groupdict() if found else {}
        return Hit(
            rule_id, index, {k: v.decode("utf-8", "replace") for k, v in groups.items() if v is not None}
        )
