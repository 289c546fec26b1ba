"""The composition root: builds the edges and hands them to the pipeline. Nothing else does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.catalogue import Rule, load
from orchestrator.config import PATH, Config, from_data
from orchestrator.edges.checker import Actionlint
from orchestrator.errors import UsageError
from orchestrator.model import Job, JobLog, Mode, Trigger, WorkflowRun
from orchestrator.pipeline import Task
from orchestrator.ports import Ports, Progress, Quiet, Repository
from orchestrator.settings import Server
from orchestrator.yamlnode import YamlNode

if TYPE_CHECKING:
    from orchestrator.edges.github import GitHubClient

_LOCAL_DEFAULT = Mode.APPLY
_REMOTE_DEFAULT = Mode.PULL_REQUEST
_MAX_ATTEMPTS = 3
_MAX_RERUNS = 2


class _LazySandbox:
    """Makes the real sandbox only when something has to run in it."""

    def __init__(self, environ: Mapping[str, str], stack: ExitStack) -> None:
        self._environ = environ
        self._stack = stack
        self._made: Callable[..., object] | None = None

    def session(self, tree, overlay=()):  # type: ignore[no-untyped-def]
        """A session of the real sandbox."""
        if self._made is None:
            from orchestrator.edges.sandbox import ProcessSandbox

            sandbox = ProcessSandbox(self._environ)
            self._stack.callback(sandbox.close)
            self._made = sandbox.session
        return self._made(tree, overlay)


def _parse_yaml(text: str) -> YamlNode | None:
    from orchestrator.edges import yaml  # most diagnoses need none

    return yaml.parse(text)


@contextmanager
def local(folder: Path | None, environ: Mapping[str, str], progress: Progress | None = None) -> Iterator[Ports]:
    """Ports without GitHub, for logs on disk and, if given, the user's own repository."""
    def open_repository(_: WorkflowRun) -> Repository:
        from orchestrator.edges.git import open_local

        assert folder is not None
        return open_local(folder)

    with ExitStack() as stack:
        yield Ports(
            now=datetime.now(UTC),
            parse_yaml=_parse_yaml,
            checker=Actionlint(),
            sandbox=_LazySandbox(environ, stack),
            open_repository=open_repository if folder else None,
            progress=progress or Quiet(),
        )


@contextmanager
def remote(server: Server, environ: Mapping[str, str], progress: Progress | None = None) -> Iterator[tuple[Ports, GitHubClient]]:
    """Ports on a GitHub server; the repository of a run is cloned when it is needed."""
    from orchestrator.edges.github import GitHubClient

    def open_repository(run: WorkflowRun) -> Repository:
        from orchestrator.edges.git import clone

        return clone(server.url, run.repository, run.head_sha, server.token.reveal())

    with ExitStack() as stack:
        github = GitHubClient(server.api_url, server.token.reveal())
        stack.callback(github.close)
        ports = Ports(
            now=datetime.now(UTC),
            parse_yaml=_parse_yaml,
            checker=Actionlint(),
            sandbox=_LazySandbox(environ, stack),
            open_repository=open_repository,
            github=github,
            progress=progress or Quiet(),
        )
        yield ports, github


def run_logs(run: WorkflowRun, github: GitHubClient) -> Iterator[JobLog]:
    """The logs of a run's failed jobs, each read when its turn comes, annotations first."""
    for job in run.jobs:
        if not job.failed:
            continue
        if job.annotations:
            yield JobLog(source=f"annotations/{job.name}", blocks=[_annotations(job)], job=job)
        blocks = github.job_log(run.repository, job.job_id)
        if blocks is not None:
            yield JobLog(source=job.name, blocks=blocks, job=job)


def _annotations(job: Job) -> bytes:
    return "".join(f"{line}\n" for text in job.annotations for line in text.splitlines()).encode()


def with_jobs(trigger: Trigger, github: GitHubClient) -> Trigger:
    """The trigger with its run's jobs filled in, if they will be looked at."""
    if trigger.run is None or trigger.ignore or trigger.run.jobs:
        return trigger
    return replace(trigger, run=replace(trigger.run, jobs=github.jobs(trigger.run)))


def task(config: Config, folder: Path, *, local: bool = False, dry_run: bool = False) -> Task:
    """What is asked for: a configuration with its gaps filled by the defaults."""
    return Task(
        rules=rules(config),
        mode=config.mode or (_LOCAL_DEFAULT if local else _REMOTE_DEFAULT),
        max_attempts=_MAX_ATTEMPTS if config.max_attempts is None else config.max_attempts,
        max_reruns=_MAX_RERUNS if config.max_reruns is None else config.max_reruns,
        dry_run=dry_run,
        folder=folder,
    )


def rules(config: Config | None = None) -> dict[str, Rule]:
    """The catalogue as a configuration wants it."""
    return (config or Config()).adapt(load())


def config_from_text(text: str | None, where: str = PATH) -> Config:
    """A configuration from the file's text; the defaults when there is no file."""
    if text is None or not text.strip():
        return Config()
    from orchestrator.edges import yaml

    nodes = yaml.parse(text)
    if nodes is None:
        raise UsageError(f"{where}: {yaml.reason(text) or 'not one YAML document'}")
    return from_data(yaml.load_plain(text, where), nodes, where)


def config_from_folder(folder: Path | None, given: str = "") -> Config:
    """A configuration from a file that was named, or from the repository's usual place."""
    if folder is not None and not folder.is_dir():
        raise UsageError(f"{folder}: no such folder (--repo)")
    path = Path(given) if given else (folder / PATH if folder else None)
    if path is None or (not given and not path.is_file()):
        return Config()
    try:
        return config_from_text(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as wrong:
        raise UsageError(f"{path}: {getattr(wrong, 'strerror', None) or wrong}") from None
