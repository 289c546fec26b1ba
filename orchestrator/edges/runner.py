"""The runner's side of the action: workflow commands, outputs, the summary. The only printer of
commands, through the Actions toolkit; text from elsewhere is made harmless first."""

from __future__ import annotations

import sys
from pathlib import Path

from actions_toolkit import core

from orchestrator.redact import redact

_ZERO_WIDTH = "\u200b"


def harmless(text: str) -> str:
    """One line in which the runner finds no command: ``::x::`` and ``##[x]`` are broken up."""
    line = " ".join(redact(text).split())
    return line.replace("::", f":{_ZERO_WIDTH}:").replace("##[", f"#{_ZERO_WIDTH}#[")


def mask(secret: str) -> None:
    """Have the runner mask a value from here on."""
    if secret:
        core.set_secret(secret)


def stage(text: str) -> None:
    """A line of progress."""
    core.info(harmless(text))


def error(text: str) -> None:
    """The one line that says why the step failed."""
    core.error(harmless(text))


def warning(text: str) -> None:
    """Something that kept us from doing more."""
    core.warning(harmless(text))


def notice(text: str) -> None:
    """The result, as an annotation of the run."""
    core.notice(harmless(text))


def outputs(values: dict[str, str]) -> None:
    """Set the step's outputs; a file that can't be written costs a warning, not the work."""
    try:
        for name, value in values.items():
            core.set_output(name, redact(value))
    except Exception as wrong:  # the toolkit raises bare Exception for a missing file
        warning(f"the outputs could not be written ({wrong}); they are in the report file")
    sys.stdout.flush()


def summary(text: str, path: str | None) -> None:
    """Append to the job summary; without a summary file nothing happens."""
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as stream:
            stream.write(text + "\n")
    except OSError as wrong:
        warning(f"the job summary could not be written to {path}: {wrong.strerror}")
