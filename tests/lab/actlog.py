"""Turns what act reports, line by line, into GitHub's jobs, steps, annotations and logs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from . import logs, workflows
from .model import Annotation, Attempt, Job, Run, Step, now

_COMMANDS = {"group", "endgroup", "error", "warning", "notice", "debug"}
_WITH_POST = ("actions/checkout", "actions/setup-python", "actions/setup-node", "actions/cache")
_LEVELS = {"error": "failure", "warning": "warning", "notice": "notice"}
_EXPRESSION = re.compile(r"\$\{\{\s*(.+?)\s*\}\}")
_WROTE = re.compile(r"\AWrote command \n\n(.*)\n\n to '", re.DOTALL)
_EXIT = re.compile(r"(?:exit status (\d+)|exitcode '(\d+)': failure)")


class Recorder:
    """The state of one attempt while act runs it."""

    def __init__(
        self,
        run: Run,
        attempt: Attempt,
        document: Mapping[str, Any],
        permissions: Callable[[str], Mapping[str, str]],
        clean: Callable[[str], str],
        started: Callable[[str], None],
        message: str,
    ):
        self.run, self.attempt, self.document, self.message = run, attempt, document, message
        self.permissions, self.clean, self.started = permissions, clean, started
        self.jobs: dict[tuple[str, str], Job] = {}
        self.ignored: set[str] = set()  # stubs that stand for jobs decided without act
        self.report: list[str] = []
        self._tolerated: set[tuple[int, int]] = set()  # steps with continue-on-error that failed
        self._exit: dict[int, str] = {}

    def feed(self, line: str, at: int) -> None:
        """Take one line of `act --json --verbose`."""
        try:
            event = json.loads(line)
        except ValueError:
            self.report.append(line.rstrip())
            return
        key = event.get("jobID")
        if event.get("level") in ("error", "warning", "fatal"):
            self.report.append(str(event.get("msg", "")).rstrip())
        if not key or key in self.ignored:
            return
        job = self._job(key, event.get("matrix") or {})
        ids = event.get("stepID") or event.get("stepid") or []
        message = str(event.get("msg", ""))
        if "jobResult" in event:
            job.conclusion = {"success": "success", "skipped": "skipped"}.get(event["jobResult"], "failure")
            if job.conclusion == "skipped":
                job.steps = []
        elif ids == ["--setup-job"]:
            self._set_up(job, message, event, at)
        elif ids and event.get("stage") == "Main" and job.steps:
            self._main(job, ids, message, event, at)

    def _definition(self, key: str) -> Mapping[str, Any]:
        return self.document["jobs"][key]

    def _job(self, key: str, matrix: Mapping[str, Any]) -> Job:
        index = (key, json.dumps(matrix, sort_keys=True))
        if index not in self.jobs:
            definition = self._definition(key)
            job = Job(key, self._job_name(key, matrix), [self._fill(x, matrix) for x in workflows.labels(definition)])
            job.matrix = dict(matrix)
            self.jobs[index] = job
            self.attempt.jobs.append(job)
        return self.jobs[index]

    def _job_name(self, key: str, matrix: Mapping[str, Any]) -> str:
        name = self._definition(key).get("name")
        if name:
            return self._fill(str(name), matrix)
        values = ", ".join(logs.scalar(value) for value in matrix.values() if not isinstance(value, (dict, list)))
        return f"{key} ({values})" if values else key

    def _fill(self, text: str, matrix: Mapping[str, Any]) -> str:
        """The simple expressions of names, inputs and environments; others stay as written."""
        run = self.run
        known = {
            "github.ref_name": run.head_branch,
            "github.sha": run.sha,
            "github.run_id": str(run.id),
            "github.repository": run.repository.full_name,
            "github.token": "***",
            **{f"matrix.{name}": logs.scalar(value) for name, value in matrix.items()},
        }

        def value(match: re.Match[str]) -> str:
            return "***" if match[1].startswith("secrets.") else known.get(match[1], match[0])

        return _EXPRESSION.sub(value, text)

    def _environment(self, job: Job, step: Mapping[str, Any]) -> dict[str, str]:
        merged = {
            **(self.document.get("env") or {}),
            **(self._definition(job.key).get("env") or {}),
            **(step.get("env") or {}),
        }
        matrix = job.matrix
        return {key: self._fill(logs.scalar(value), matrix) for key, value in merged.items()}

    def _set_up(self, job: Job, message: str, event: Mapping[str, Any], at: int) -> None:
        if message.startswith("⭐"):
            self.started(job.key)
            job.status, job.started_at, job.has_runner, job.has_log = "in_progress", now(), True, True
            run = self.run
            job.system = [(at, text) for text in logs.system(job, run.repository.full_name, run.workflow.path, run.ref)]
            actions = [use for use in workflows.remote_actions(self._definition(job.key))]
            step = Step("Set up job", 1, "in_progress", started_at=now())
            job.steps = [step]
            for text in logs.set_up(self.permissions(job.key), actions, job.name):
                step.write(text, at)
            for number, one in enumerate(self._definition(job.key).get("steps") or [], start=2):
                job.steps.append(Step(self._step_name(job, one), number))
        elif "stepResult" in event:
            self._finish(job.steps[0], event["stepResult"])
        elif event.get("level") == "error":
            job.steps[0].write(f"##[error]{self.clean(message)}", at)

    def _step_name(self, job: Job, step: Mapping[str, Any]) -> str:
        matrix = job.matrix
        if step.get("name"):
            return self._fill(str(step["name"]), matrix)
        if "uses" in step:
            return f"Run {step['uses']}"
        return (
            "Run "
            + self._fill(next((x for x in str(step.get("run", "")).splitlines() if x.strip()), ""), matrix).strip()
        )

    @staticmethod
    def _finish(step: Step, result: str) -> None:
        step.status, step.conclusion, step.completed_at = "completed", result, now()
        step.started_at = step.started_at or step.completed_at

    def _main(self, job: Job, ids: list[str], message: str, event: Mapping[str, Any], at: int) -> None:
        definitions = self._definition(job.key).get("steps") or []
        order = {str(one.get("id") or number): number for number, one in enumerate(definitions)}
        if ids[0] not in order:
            return
        index = order[ids[0]]
        definition, step = definitions[index], job.steps[index + 1]
        nested = len(ids) > 1
        wrote = _WROTE.match(message)
        if message.startswith("⭐") and not nested:
            step.status, step.started_at = "in_progress", now()
            if "uses" in definition:
                self._uses(job, step, definition, at)
        elif wrote and (not nested or "uses" in definition):
            if not (nested and str(definition["uses"]).startswith(workflows.OUR_ACTION)):
                shell = self._shell(job, definition) if not nested else "bash"
                for text in logs.run_header(self.clean(wrote[1]), shell, self._environment(job, definition)):
                    step.write(text, at)
        elif "command" in event and "raw" in event:
            self._command(job, step, event, at)
        elif event.get("raw_output"):
            step.write(self.clean(message.rstrip("\n")), at)
        elif "Failed but continue next step" in message and not nested:
            self._tolerated.add((id(job), index))
            step.write(f"##[error]Process completed with exit code {self._exit.get(id(step), '1')}.", at)
        elif "stepResult" in event and not nested:
            tolerated = (id(job), index) in self._tolerated
            self._finish(step, "success" if tolerated else event["stepResult"])
        elif event.get("level") == "error" and not nested:
            self._failed(job, step, definition, message, at)

    def _shell(self, job: Job, step: Mapping[str, Any]) -> str | None:
        for holder in (
            step,
            *((x.get("defaults") or {}).get("run") or {} for x in (self._definition(job.key), self.document)),
        ):
            if holder.get("shell"):
                return str(holder["shell"])
        return None

    def _uses(self, job: Job, step: Step, definition: Mapping[str, Any], at: int) -> None:
        matrix = job.matrix
        defaults = logs.CHECKOUT_INPUTS if str(definition["uses"]).startswith("actions/checkout@") else {}
        given = {
            **(definition.get("with") or {}),
            **{k: v for k, v in defaults.items() if k not in (definition.get("with") or {})},
        }
        inputs = {key: self._fill(logs.scalar(value), matrix) for key, value in given.items()}
        lines = logs.uses_header(str(definition["uses"]), inputs, self._environment(job, definition))
        if str(definition["uses"]).startswith("actions/checkout@"):
            run = self.run
            lines += logs.checkout(run.repository.full_name, run.ref, run.sha, self.message)
        for text in lines:
            step.write(text, at)

    def _command(self, job: Job, step: Step, event: Mapping[str, Any], at: int) -> None:
        name, text = event["command"], self.clean(str(event.get("arg", "")))
        if name == "lab-exit":
            self._exit[id(step)] = text.strip()
        elif name in _COMMANDS and name != "debug":
            step.write(f"##[{name}]{text}", at)
            if name in _LEVELS:
                pairs = event.get("kvPairs") or {}
                line = str(pairs.get("line", "1"))
                job.annotations.append(
                    Annotation(
                        text,
                        _LEVELS[name],
                        pairs.get("file", ".github"),
                        int(line) if line.isdigit() else 1,
                        pairs.get("title", ""),
                    )
                )
        elif name not in _COMMANDS and name != "add-mask":
            step.write(self.clean(str(event["raw"]).rstrip("\n")), at)
        elif name == "add-mask":
            step.write("::add-mask::***", at)

    def _failed(self, job: Job, step: Step, definition: Mapping[str, Any], message: str, at: int) -> None:
        code = _EXIT.search(message)
        if code:
            number = code[1] or code[2]
            container = str(definition.get("uses", "")).startswith(workflows.OUR_ACTION)
            text = (
                f"Docker run failed with exit code {number}"
                if container
                else f"Process completed with exit code {number}."
            )
        else:
            text = self.clean(message)
        step.write(f"##[error]{text}", at)
        job.annotations.append(Annotation(text))

    def finish(self) -> None:
        """Complete what act leaves open: post steps, skipped steps, skipped jobs."""
        for job in self.jobs.values():
            if job.conclusion != "skipped":
                self._close(job)
        have = {job.key for job in self.attempt.jobs}
        for key, definition in self.document["jobs"].items():
            if key not in have and key not in self.ignored:
                job = Job(key, self._job_name(key, {}), workflows.labels(definition), conclusion="skipped")
                self.attempt.jobs.append(job)
        for job in self.attempt.jobs:
            job.status, job.completed_at = "completed", job.completed_at or now()
        order = list(self.document["jobs"])
        self.attempt.jobs.sort(key=lambda job: order.index(job.key) if job.key in order else len(order))

    def _close(self, job: Job) -> None:
        definitions = self._definition(job.key).get("steps") or []
        for step in job.steps:
            if step.conclusion is None:
                self._finish(step, "skipped" if step.status == "queued" else "failure")
        posts = [
            (one, step)
            for one, step in zip(definitions, job.steps[1:], strict=False)
            if str(one.get("uses", "")).split("@")[0] in _WITH_POST and step.conclusion != "skipped"
        ]
        # Every step reserves a number for a post step, so these end just before the last.
        last = 2 * len(definitions) + 2
        for offset, (_, step) in enumerate(reversed(posts)):
            post = Step(f"Post {step.name}", last - len(posts) + offset, started_at=now())
            post.write("Post job cleanup.")
            self._finish(post, "success")
            job.steps.append(post)
        final = Step("Complete job", last, started_at=now())
        if self._definition(job.key).get("outputs"):
            final.write("Evaluate and set job outputs")
        final.write("Cleaning up orphan processes")
        self._finish(final, "success")
        job.steps.append(final)
        if job.conclusion is None:
            job.conclusion = "failure"
