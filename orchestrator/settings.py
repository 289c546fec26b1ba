"""Everything that the environment says, read once. No other module looks at it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.model import Mode

_TRUE, _FALSE = {"true", "yes", "1"}, {"false", "no", "0", ""}
_ACTION_MODES = tuple(mode for mode in Mode if mode is not Mode.APPLY)


class Secret(str):
    """A token that never shows itself in logs, reports or tracebacks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(***)"

    def __format__(self, spec: str) -> str:
        return "***"

    def __str__(self) -> str:
        return "***"

    def reveal(self) -> str:
        """The value itself, for the one place that sends it."""
        return str.__getitem__(self, slice(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Which GitHub. The defaults are github.com's; GHES sets its own."""

    api_url: str = "https://api.github.com"
    url: str = "https://github.com"
    token: Secret = field(default=Secret(""), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSettings:
    """The action's inputs and what the runner tells every step."""

    server: Server
    mode: Mode | None
    run_id: int | None
    repository: str
    config: str
    rules: str
    max_attempts: int | None
    max_reruns: int | None
    dry_run: bool
    report_dir: Path
    event_name: str
    event_path: Path | None
    own_workflow: str


def server_from(environ: Mapping[str, str], token: str = "") -> Server:
    """The server and token that the environment names."""
    return Server(
        api_url=environ.get("GITHUB_API_URL") or "https://api.github.com",
        url=environ.get("GITHUB_SERVER_URL") or "https://github.com",
        token=Secret(token or environ.get("GITHUB_TOKEN") or environ.get("GH_TOKEN") or ""),
    )


def repository_from(environ: Mapping[str, str]) -> str:
    """``owner/name`` from GITHUB_REPOSITORY, or from its two halves; empty when not given."""
    owner, name = environ.get("GITHUB_REPOSITORY_OWNER", ""), environ.get("GITHUB_REPOSITORY_NAME", "")
    if environ.get("GITHUB_REPOSITORY"):
        return environ["GITHUB_REPOSITORY"]
    return f"{owner}/{name}" if owner and name else ""


def action_settings(environ: Mapping[str, str]) -> ActionSettings:
    """Read and check every input. Raises UsageError naming the input and what it may be."""
    token = _input(environ, "token")
    event_path = environ.get("GITHUB_EVENT_PATH", "")
    # owner/name/.github/workflows/file.yml@refs/heads/main
    workflow_ref = environ.get("GITHUB_WORKFLOW_REF", "").split("@", 1)[0]
    mode = _input(environ, "mode")
    return ActionSettings(
        server=server_from(environ, token),
        mode=_choice("mode", mode, _ACTION_MODES) if mode else None,
        run_id=_number(environ, "run-id"),
        repository=_repository(_input(environ, "repository") or repository_from(environ)),
        config=_input(environ, "config"),
        rules=_input(environ, "rules"),
        max_attempts=_number(environ, "max-attempts"),
        max_reruns=_number(environ, "max-reruns"),
        dry_run=_flag(environ, "dry-run"),
        report_dir=Path(environ.get("GITHUB_WORKSPACE") or ".") / (_input(environ, "report-dir") or "."),
        event_name=environ.get("GITHUB_EVENT_NAME", ""),
        event_path=Path(event_path) if event_path else None,
        own_workflow="/".join(workflow_ref.split("/")[2:]),
    )


def _input(environ: Mapping[str, str], name: str) -> str:
    return environ.get(f"INPUT_{name.upper()}", "").strip()


def _number(environ: Mapping[str, str], name: str) -> int | None:
    value = _input(environ, name)
    if not value:
        return None
    if not value.isdecimal() or len(value) > 18:
        raise UsageError(f"input {name!r}: {value!r} is not a whole number")
    return int(value)


def _flag(environ: Mapping[str, str], name: str) -> bool:
    value = _input(environ, name).lower()
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise UsageError(f"input {name!r}: {value!r} is neither true nor false")


def _choice(name: str, value: str, choices: tuple[Mode, ...]) -> Mode:
    if value in choices:
        return Mode(value)
    close = difflib.get_close_matches(value, choices, n=1)
    meant = f"; did you mean {str(close[0])!r}?" if close else ""
    raise UsageError(f"input {name!r}: {value!r} is not one of {', '.join(choices)}{meant}")


def _repository(value: str) -> str:
    if value and value.count("/") != 1:
        raise UsageError(f"repository {value!r}: expected OWNER/NAME")
    return value
