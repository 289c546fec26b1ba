"""``orchestrator demo``: the main job on the broken repository and recorded red run beside this file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rich.console import Console
from rich.text import Text

from orchestrator import wiring
from orchestrator.edges.git import create
from orchestrator.edges.source import open_logs
from orchestrator.edges.terminal import TerminalProgress
from orchestrator.errors import UsageError
from orchestrator.model import Mode, Report, Trigger
from orchestrator.pipeline import heal
from orchestrator.report import files
from orchestrator.report.json import dumps
from orchestrator.report.text import show

EXAMPLE = Path(__file__).with_name("example")
_MARKER = ".mcp-orchestrator-demo"


def command(folder: Path) -> int:
    """Set up the repository in ``folder``, heal it on a new branch, and say where to look."""
    console = Console(highlight=False)
    repository = _prepare(folder)
    console.print(Text.assemble(("A workflow went red. ", "bold"), f"Repository {repository}, log {EXAMPLE / 'run.log'}"), soft_wrap=True)
    with TerminalProgress() as progress, wiring.local(repository, os.environ, progress) as ports:
        task = wiring.task(wiring.config_from_folder(repository).override(mode=Mode.COMMIT), folder, local=True)
        report = heal(Trigger(), open_logs(str(EXAMPLE / "run.log")), task, ports)
    path = files.write(report, folder, dumps(report))
    show(report, console)
    return _where(report, repository, path, console)


def _prepare(folder: Path) -> Path:
    if folder.exists() and not (folder / _MARKER).exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} exists and is no former demonstration; choose another with --folder DIR")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / _MARKER).touch()
        shutil.copytree(EXAMPLE / "repository", folder / "repository")
    except OSError as wrong:
        raise UsageError(f"{folder}: {wrong.strerror}; choose another with --folder DIR") from None
    create(folder / "repository", message="A menu that fails its tests")
    return folder / "repository"


def _where(report: Report, repository: Path, path: Path, console: Console) -> int:
    mended = next((fix for fix in report.fixes if fix.success), None)
    console.print()
    if mended is None:
        console.print(Text("The mend could not be proven here; the reason is above.", style="bold red"))
        console.print(f"Report  {path}")
        return 2
    console.print(Text("What to look at", style="bold"))
    console.print(f"  commit  git -C {repository} show {mended.publication.branch}", soft_wrap=True)
    console.print(f"  report  {path}", soft_wrap=True)
    return 0
