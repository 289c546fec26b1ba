"""The command line. Nothing heavy is imported before it is known what is wanted."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from orchestrator import __version__
from orchestrator.errors import NoRootCause, OrchestratorError, UsageError

if TYPE_CHECKING:
    from orchestrator.model import Mode, Report

_MODES = ("report", "patch", "apply", "commit", "pull-request", "push")
_FORMATS = ("text", "json", "sarif", "markdown")
_RUN = re.compile(
    r"(?:https?://(?P<host>[^/]+)/)?(?P<repository>[\w.-]+/[\w.-]+)(?:#|/actions/runs/)(?P<run>\d+)(?:/attempts/(?P<attempt>\d+))?/?$"
)
_SOURCE_HELP = (
    "a job log, a run-log zip, a folder of logs, - for standard input, a run's URL, or OWNER/NAME#RUN_ID"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 a bug, 2 wrong use, 3 no root cause."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not hasattr(options, "run"):
        parser.print_help()
        return 2
    command: Callable[[argparse.Namespace], int] = options.run
    try:
        return command(options)
    except OrchestratorError as expected:
        print(f"orchestrator: {expected}", file=sys.stderr)
        return expected.exit_code
    except KeyboardInterrupt:
        print("orchestrator: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as bug:
        import traceback

        traceback.print_exc()
        print(
            f"orchestrator {__version__}: this is a bug ({type(bug).__name__}); please report it with the text above",
            file=sys.stderr,
        )
        return 1


class _Parser(argparse.ArgumentParser):
    """Wrong use is one line, with what was probably meant."""

    def error(self, message: str) -> NoReturn:
        import difflib

        found = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        known = re.findall(r"[\w-]+", found[2]) if found else []
        close = difflib.get_close_matches(found[1], known, n=1, cutoff=0.5) if found else []
        meant = f"; did you mean {close[0]!r}?" if close else f"; see `{self.prog} --help`"
        self.exit(UsageError.exit_code, f"orchestrator: {' '.join(message.split())}{meant}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="orchestrator",
        description="Names the root cause of a red GitHub Actions run, with the line that proves it, and mends what can be mended safely.",
    )
    parser.add_argument("--version", action="version", version=f"orchestrator {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    diagnose = commands.add_parser("diagnose", help="name the root cause, change nothing")
    diagnose.add_argument("source", metavar="SOURCE", help=_SOURCE_HELP)
    diagnose.add_argument("--repo", metavar="DIR", type=Path, help="the repository, for its own rules")
    diagnose.add_argument("--format", choices=_FORMATS, default="text")
    diagnose.set_defaults(run=_diagnose)

    heal = commands.add_parser("heal", help="diagnose, mend, verify, publish")
    heal.add_argument("source", metavar="SOURCE", help=_SOURCE_HELP)
    heal.add_argument("--repo", metavar="DIR", type=Path, help="the repository to mend (with local logs)")
    heal.add_argument("--mode", choices=_MODES, help="default: apply with local logs, pull-request with a run on GitHub")
    heal.add_argument("--report", metavar="FILE", type=Path, help="write the JSON report here")
    heal.add_argument("--config", metavar="FILE", default="", help="instead of .github/orchestrator.yml")
    heal.add_argument("--max-reruns", metavar="N", type=int)
    heal.add_argument("--dry-run", action="store_true", help="verify, but publish nothing")
    heal.set_defaults(run=_heal)

    monitor = commands.add_parser("monitor", help="watch a repository and heal its red runs")
    monitor.add_argument("--repo", metavar="OWNER/NAME", default="", help="default: from the environment")
    monitor.add_argument("--interval", metavar="SECONDS", type=float, default=120.0)
    monitor.add_argument("--retries", metavar="N", type=int, help="attempts at one failure before it is left to a person")
    monitor.add_argument("--once", action="store_true", help="one sweep only")
    monitor.add_argument("--mode", choices=_MODES)
    monitor.add_argument("--report-dir", metavar="DIR", type=Path, default=Path("."))
    monitor.set_defaults(run=_monitor)

    rules = commands.add_parser("rules", help="list or show rules")
    actions = rules.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="every rule with its title")
    listing.set_defaults(run=_rules_list)
    show = actions.add_parser("show", help="one rule in full")
    show.add_argument("id", metavar="ID")
    show.set_defaults(run=_rules_show)

    demo = commands.add_parser("demo", help="heal the broken repository that comes with the project")
    demo.add_argument("--folder", metavar="DIR", type=Path, default=Path("mcp-orchestrator-demo"))
    demo.set_defaults(run=_demo)
    return parser


# --- diagnose and heal ------------------------------------------------------------------------


def _diagnose(options: argparse.Namespace) -> int:
    from orchestrator import wiring
    from orchestrator.model import Trigger
    from orchestrator.pipeline import Task, diagnose

    wanted = _RUN.match(options.source) if not Path(options.source).exists() else None
    config = wiring.config_from_folder(options.repo)
    task = Task(rules=wiring.rules(config))
    if wanted:
        with wiring.remote(_server(wanted), os.environ) as (ports, github):
            run = github.run(wanted["repository"], int(wanted["run"]), _attempt(wanted))
            report, _ = diagnose(Trigger(run=run), wiring.run_logs(run, github), task, ports)
    else:
        from orchestrator.edges.source import open_logs

        with wiring.local(options.repo, os.environ) as ports:
            report, _ = diagnose(Trigger(), open_logs(options.source), task, ports)
    _print(report, options.format)
    return 0 if report.issues else NoRootCause.exit_code


def _heal(options: argparse.Namespace) -> int:
    wanted = _RUN.match(options.source) if not Path(options.source).exists() else None
    report = _heal_remote(options, wanted) if wanted else _heal_local(options)
    _print(report, "text")
    if options.report:
        from orchestrator.report.json import dumps

        _write(options.report, dumps(report))
    if report.skipped:
        return 0
    if not report.issues:
        return NoRootCause.exit_code
    blocked = next((fix.error_message for fix in report.fixes if not fix.success and _was_mended(fix.issue.decision)), None)
    if blocked:
        raise UsageError(blocked)
    return 0


def _was_mended(decision: str) -> bool:
    return decision == "fix"


def _heal_remote(options: argparse.Namespace, wanted: re.Match[str]) -> Report:
    from orchestrator import wiring
    from orchestrator.edges.terminal import TerminalProgress
    from orchestrator.event import judge
    from orchestrator.pipeline import heal

    with TerminalProgress() as progress, wiring.remote(_server(wanted), os.environ, progress) as (ports, github):
        run = github.run(wanted["repository"], int(wanted["run"]), _attempt(wanted))
        config = wiring.config_from_folder(None, options.config)
        config = config.override(mode=_mode(options), max_reruns=options.max_reruns)
        task = wiring.task(config, Path("."), dry_run=options.dry_run)
        return heal(judge(run), wiring.run_logs(run, github), task, ports)


def _heal_local(options: argparse.Namespace) -> Report:
    from orchestrator import wiring
    from orchestrator.edges.source import open_logs
    from orchestrator.edges.terminal import TerminalProgress
    from orchestrator.model import Mode, Trigger
    from orchestrator.pipeline import heal

    mode = _mode(options)
    if mode in (Mode.PULL_REQUEST, Mode.PUSH):
        raise UsageError(f"--mode {mode} needs a run on GitHub (a run's URL or OWNER/NAME#RUN_ID); use apply, commit or patch")
    logs = open_logs(options.source)
    config = wiring.config_from_folder(options.repo, options.config)
    config = config.override(mode=mode, max_reruns=options.max_reruns)
    task = wiring.task(config, Path("."), local=True, dry_run=options.dry_run)
    with TerminalProgress() as progress, wiring.local(options.repo, os.environ, progress) as ports:
        return heal(Trigger(), logs, task, ports)


def _mode(options: argparse.Namespace) -> Mode | None:
    from orchestrator.model import Mode

    return Mode(options.mode) if options.mode else None


def _server(wanted: re.Match[str]):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    from orchestrator.settings import server_from

    server = server_from(os.environ)
    if not server.token:
        raise UsageError("reading a run on GitHub needs a token: set GITHUB_TOKEN (for example from `gh auth token`)")
    host = wanted["host"]
    if host and host != "github.com" and host not in server.url:
        # The token must not go to a server that only a pasted address names.
        raise UsageError(f"the run is on {host}, but GITHUB_SERVER_URL is {server.url}; set GITHUB_SERVER_URL and GITHUB_API_URL")
    return replace(server)


def _attempt(wanted: re.Match[str]) -> int | None:
    return int(wanted["attempt"]) if wanted["attempt"] else None


def _print(report: Report, form: str) -> None:
    if form == "json":
        from orchestrator.report.json import dumps

        sys.stdout.write(dumps(report))
    elif form == "sarif":
        from orchestrator.report.sarif import dumps as sarif

        sys.stdout.write(sarif(report))
    elif form == "markdown":
        from orchestrator.report.markdown import summary

        sys.stdout.write(summary(report))
    else:
        from rich.console import Console

        from orchestrator.report.text import show

        show(report, Console(highlight=False))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as wrong:
        raise UsageError(f"the report can't be written to {path}: {wrong.strerror}") from None


# --- the others ----------------------------------------------------------------------------------


def _monitor(options: argparse.Namespace) -> int:
    from orchestrator.monitor import command

    return command(options, os.environ)


def _demo(options: argparse.Namespace) -> int:
    from orchestrator.demo import command

    return command(options.folder)


def _rules_list(_: argparse.Namespace) -> int:
    from orchestrator.catalogue import load

    rules = load()
    width = max(map(len, rules), default=0)
    for rule in rules.values():
        print(f"{rule.id:{width}}  {'mends' if rule.recipe else 're-runs' if rule.transient else 'guides':8} {rule.title}")
    print(f"\n{len(rules)} rules, {sum(bool(r.recipe) for r in rules.values())} with a recipe")
    return 0


def _rules_show(options: argparse.Namespace) -> int:
    import difflib

    from orchestrator.catalogue import load

    rules = load()
    rule = rules.get(options.id)
    if rule is None:
        close = difflib.get_close_matches(options.id, rules, n=1)
        raise UsageError(f"there is no rule {options.id!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
    print(f"{rule.id}: {rule.title}\n")
    print(f"{rule.category}, severity {rule.severity}, confidence {rule.confidence}" + (", transient" if rule.transient else ""))
    for label, text in (("Looks like", "\n  ".join(rule.patterns)), ("Means", rule.means), ("What to do", rule.advice),
                        ("Mend", rule.recipe or rule.no_recipe or "none"), ("Instead of", ", ".join(rule.supersedes))):  # fmt: skip
        if text:
            print(f"\n{label}:\n  {text}")
    return 0
