"""GitHub's JSON of the lab's objects. The contract check holds every field to the document."""

from __future__ import annotations

from .model import Annotation, Job, Repository, Run, Workflow, node_id, stamp
from .shapes_conversation import ConversationShapes
from .shapes_core import Json

__all__ = ["Json", "Shapes"]


class Shapes(ConversationShapes):
    """Every shape; those of runs and jobs are written here."""

    def run(self, run: Run, attempt: int | None = None) -> Json:
        repo = run.repository
        url, html = f"{self.api}/repos/{repo.full_name}/actions/runs/{run.id}", f"{self.server}/{repo.full_name}"
        one = run.attempts[attempt - 1] if attempt else run.latest
        here = f"{url}/attempts/{one.number}" if attempt and attempt < run.attempt else url
        previous = f"{url}/attempts/{one.number - 1}" if one.number > 1 else None
        pulls = [
            self.minimal_pull(pull)
            for pull in repo.pulls()
            if pull.state == "open"
            and pull.head == run.head_branch
            and pull.head_repository is repo
            and run.head_repository is repo
        ]
        return {
            "id": run.id,
            "name": run.name,
            "node_id": node_id("WorkflowRun", run.id),
            "head_branch": run.head_branch,
            "head_sha": run.head_sha,
            "path": run.workflow.path,
            "display_title": run.title,
            "run_number": run.number,
            "event": run.event,
            "status": one.status,
            "conclusion": one.conclusion,
            "workflow_id": run.workflow.id,
            "check_suite_id": run.check_suite_id,
            "check_suite_node_id": node_id("CheckSuite", run.check_suite_id),
            "url": url,
            "html_url": f"{html}/actions/runs/{run.id}",
            "pull_requests": pulls,
            "created_at": stamp(run.created_at),
            "updated_at": stamp(one.updated_at),
            "actor": self.user(run.actor),
            "run_attempt": one.number,
            "referenced_workflows": [],
            "run_started_at": stamp(one.started_at),
            "triggering_actor": self.user(one.triggering_actor),
            "jobs_url": f"{here}/jobs",
            "logs_url": f"{here}/logs",
            "check_suite_url": f"{self.api}/repos/{repo.full_name}/check-suites/{run.check_suite_id}",
            "artifacts_url": f"{url}/artifacts",
            "cancel_url": f"{url}/cancel",
            "rerun_url": f"{url}/rerun",
            "previous_attempt_url": previous,
            "workflow_url": f"{self.api}/repos/{repo.full_name}/actions/workflows/{run.workflow.id}",
            "head_commit": self.commit(run.head_repository, run.head_sha),
            "repository": self.repository(repo),
            "head_repository": self.repository(run.head_repository),
        }

    def job(self, run: Run, job: Job) -> Json:
        root = f"{self.api}/repos/{run.repository.full_name}"
        attempt = next(a.number for a in reversed(run.attempts) if job in a.jobs)
        return {
            "id": job.id,
            "run_id": run.id,
            "workflow_name": run.name,
            "head_branch": run.head_branch,
            "run_url": f"{root}/actions/runs/{run.id}",
            "run_attempt": attempt,
            "node_id": node_id("CheckRun", job.id),
            "head_sha": run.head_sha,
            "url": f"{root}/actions/jobs/{job.id}",
            "html_url": f"{self.server}/{run.repository.full_name}/actions/runs/{run.id}/job/{job.id}",
            "status": job.status,
            "conclusion": job.conclusion,
            "created_at": stamp(job.created_at),
            "started_at": stamp(job.started_at or job.created_at),
            "completed_at": stamp(job.completed_at),
            "name": job.name,
            "steps": [
                {
                    "name": step.name,
                    "status": step.status,
                    "conclusion": step.conclusion,
                    "number": step.number,
                    "started_at": stamp(step.started_at),
                    "completed_at": stamp(step.completed_at),
                }
                for step in job.steps
            ],
            "check_run_url": f"{root}/check-runs/{job.id}",
            "labels": job.labels,
            "runner_id": 1000000 + job.id % 97 if job.has_runner else 0,
            "runner_name": f"GitHub Actions {1000000 + job.id % 97}" if job.has_runner else "",
            "runner_group_id": 0,
            "runner_group_name": "GitHub Actions" if job.has_runner else "",
        }

    def annotation(self, run: Run, note: Annotation) -> Json:
        href = f"{self.server}/{run.repository.full_name}/blob/{run.head_sha}/{note.path}"
        return {
            "path": note.path,
            "blob_href": href,
            "start_line": note.line,
            "start_column": None,
            "end_line": note.line,
            "end_column": None,
            "annotation_level": note.level,
            "title": note.title,
            "message": note.message,
            "raw_details": "",
        }

    def workflow(self, repo: Repository, workflow: Workflow) -> Json:
        html = f"{self.server}/{repo.full_name}"
        return {
            "id": workflow.id,
            "node_id": node_id("Workflow", workflow.id),
            "name": workflow.name,
            "path": workflow.path,
            "state": "active",
            "created_at": stamp(workflow.created_at),
            "updated_at": stamp(workflow.created_at),
            "url": f"{self.api}/repos/{repo.full_name}/actions/workflows/{workflow.id}",
            "html_url": f"{html}/blob/{repo.default_branch}/{workflow.path}",
            "badge_url": f"{html}/workflows/{workflow.name}/badge.svg",
        }
