"""``mcp_orchestrator.log``: what was done, with times, beside whatever else is shown."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from orchestrator.errors import UsageError
from orchestrator.ports import Progress
from orchestrator.report.text import printable


class LogFile:
    """Progress that is also appended to a file, redacted."""

    def __init__(self, path: Path, inner: Progress) -> None:
        self._inner = inner
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("a", encoding="utf-8", buffering=1)
        except OSError as wrong:
            raise UsageError(f"the log can't be written to {path}: {wrong.strerror}") from None

    def __enter__(self) -> LogFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._line("ERROR", str(error))
        self._stream.close()

    def stage(self, text: str) -> None:
        """A stage begins."""
        self._line("INFO", text)
        self._inner.stage(text)

    def note(self, text: str) -> None:
        """Something worth a line."""
        self._line("INFO", f"  {text}")
        self._inner.note(text)

    def _line(self, level: str, text: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._stream.write(f"{now} {level} {printable(text)}\n")
