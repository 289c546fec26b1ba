"""Progress for a person at a terminal, on standard error, so that output can be piped."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.status import Status
from rich.text import Text

from orchestrator.report.text import printable


class TerminalProgress:
    """A spinner with the current stage; one line a stage where there is no terminal."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._status: Status | None = None

    def __enter__(self) -> TerminalProgress:
        if self._console.is_terminal:
            self._status = self._console.status("starting")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status:
            self._status.stop()

    def stage(self, text: str) -> None:
        """A stage begins."""
        if self._status:
            self._status.update(Text(f"{printable(text)}…", style="cyan"))
        self._console.print(Text(f"· {printable(text)}", style="dim"))

    def note(self, text: str) -> None:
        """Something worth a line."""
        self._console.print(Text(f"  {printable(text)}", style="dim"))
