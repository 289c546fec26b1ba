"""The Python API: thin calls into the pipeline, under the names that users know."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from orchestrator import wiring
from orchestrator.config import PATH as CONFIG_PATH
from orchestrator.errors import UsageError
from orchestrator.event import RED, judge
from orchestrator.model import FixResult, JobLog, Mode, Report, WorkflowIssue, WorkflowRun
from orchestrator.pipeline import diagnose, heal, heal_issue
from orchestrator.settings import repository_from, server_from
from orchestrator.sweep import sweep


class Orchestrator:
    """One repository on one GitHub server. Use it as a context manager.

    ``repository`` is ``owner/name``; ``token`` and server default to the environment's
    (GITHUB_TOKEN, GITHUB_API_URL, GITHUB_SERVER_URL). ``mode`` says how far fixes go. Raises
    UsageError when no repository or token is given.
    """

    def __init__(
        self, repository: str = "", token: str = "", *, mode: str | Mode = Mode.PULL_REQUEST,
        environ: Mapping[str, str] | None = None, report_dir: str | Path = ".",
    ) -> None:  # fmt: skip
        environ = os.environ if environ is None else environ
        self._repository = repository or repository_from(environ)
        server = server_from(environ, token)
        if self._repository.count("/") != 1 or not server.token:
            raise UsageError("Orchestrator needs a repository (owner/name) and a token")
        self._stack = ExitStack()
        self._ports, self._github = self._stack.enter_context(wiring.remote(server, environ))
        config = wiring.config_from_text(
            self._github.file(self._repository, CONFIG_PATH, self._github.default_branch(self._repository))
        )
        self._task = wiring.task(config.override(mode=Mode(mode)), Path(report_dir))
        self._seen: set[tuple[str, int]] = set()

    def __enter__(self) -> Orchestrator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close connections and remove temporary files."""
        self._stack.close()

    def get_workflow_runs(self, limit: int = 30) -> list[WorkflowRun]:
        """Recent completed runs, newest first, without their jobs."""
        return self._github.runs(self._repository, limit=limit)

    def get_failed_runs(self, runs: Sequence[WorkflowRun] | None = None) -> list[WorkflowRun]:
        """The red ones among ``runs`` (by default the recent ones), with their jobs."""
        found = self.get_workflow_runs() if runs is None else runs
        return [replace(run, jobs=run.jobs or self._github.jobs(run)) for run in found if run.conclusion in RED]

    def download_run_logs(self, run: WorkflowRun) -> dict[str, bytes]:
        """The logs of the run's failed jobs by job name; jobs without a log are left out."""
        return {log.source: b"".join(log.blocks) for log in wiring.run_logs(self._with_jobs(run), self._github)}

    def analyze_logs_for_issues(self, run: WorkflowRun, logs: Mapping[str, bytes]) -> list[WorkflowIssue]:
        """Every issue that the logs show, the root cause first. Nothing is changed."""
        jobs = {job.name: job for job in run.jobs}
        given = [JobLog(source=name, blocks=[data], job=jobs.get(name)) for name, data in logs.items()]
        report, _ = diagnose(judge(run), given, self._task, self._ports)
        return list(report.issues)

    def apply_dependency_fix(self, issue: WorkflowIssue, run: WorkflowRun) -> FixResult:
        """Mend a dependency issue and publish it in the chosen mode, through every gate."""
        return self._fix(issue, run, "dependency")

    def apply_code_fix(self, issue: WorkflowIssue, run: WorkflowRun) -> FixResult:
        """Mend a code issue (formatters and the like), through every gate."""
        return self._fix(issue, run, "code")

    def apply_workflow_config_fix(self, issue: WorkflowIssue, run: WorkflowRun) -> FixResult:
        """Mend a workflow file, through every gate."""
        return self._fix(issue, run, "configuration")

    def monitor_and_fix_workflows(self, sweeps: int = 1) -> Report:
        """Look at the recent runs ``sweeps`` times, heal the red ones, and report the last sweep that saw one."""
        report = Report(runs=(), issues=())
        for _ in range(sweeps):
            latest = sweep(self._repository, self._github, self._task, self._ports, self._seen)
            report = latest if latest.runs or not report.runs else report
        return report

    def heal(self, run: WorkflowRun) -> Report:
        """One run through the whole pipeline."""
        run = self._with_jobs(run)
        return heal(judge(run), wiring.run_logs(run, self._github), self._task, self._ports)

    def _fix(self, issue: WorkflowIssue, run: WorkflowRun, category: str) -> FixResult:
        if issue.category != category:
            raise UsageError(f"{issue.issue_type} is a {issue.category} issue, not a {category} one")
        run = self._with_jobs(run)
        return heal_issue(issue, judge(run), wiring.run_logs(run, self._github), self._task, self._ports)

    def _with_jobs(self, run: WorkflowRun) -> WorkflowRun:
        return run if run.jobs else replace(run, jobs=self._github.jobs(run))
