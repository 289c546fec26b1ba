"""Grant a job the one permission that GitHub refused a step, and keep everything that it had.

The scope must follow from what the step does: GitHub's answer, the address that was refused, the
commands of the step, or an action whose needs are known. A job with a block of its own has
exactly what the block says, so the block grows by one entry. A job without one gets a block that
repeats what it had from the workflow, or by default: when that refuses a write, the default is
GitHub's restricted one, which is read access to contents and packages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from orchestrator.model import Declined, Fix, Safety, Splice, WorkflowIssue
from orchestrator.recipes import Context
from orchestrator.recipes._edit import insertion, line_end, newline_of, within
from orchestrator.recipes._shell import commands
from orchestrator.workflow import StepNode, candidate_paths, job_matches, locate, steps
from orchestrator.yamlnode import Route, YamlNode

_TRUSTED_EVENTS = frozenset({"push", "schedule", "workflow_dispatch"})
_DEFAULT = (("contents", "read"), ("packages", "read"))
_LEVELS = ("none", "read", "write")
_OWN_TOKEN = re.compile(r"\$\{\{\s*(?:github\.token|secrets\.GITHUB_TOKEN)\s*\}\}")
_TOKEN_KEYS = ("GH_TOKEN", "GITHUB_TOKEN", "token", "github-token", "github_token", "repo-token")
_CALL = re.compile(r"\bgithub\.rest\.(\w+\.\w+)\(")


def recipe(issue: WorkflowIssue, context: Context) -> Fix | Declined:
    """Add the scope at the failing job."""
    outside = _untrusted(context)
    if outside:
        return Declined(reason=outside)
    step = _failing_step(issue, context)
    if step is None:
        return Declined(reason="the failing step was not found in the workflow file")
    scope = _scope(issue, step, context)
    if isinstance(scope, Declined):
        return scope
    token = _foreign_token(step)
    if token:
        return Declined(
            reason=f"the step uses a token of its own ({token}), which the workflow's permissions don't govern"
        )
    if _is_called(step.root):
        return Declined(reason="the workflow is called by others; the caller decides what its jobs may do")
    edit = _granted(step, scope, context.tree.text(step.path) or "")
    if isinstance(edit, Declined):
        return edit
    return Fix(
        title=f"Grant the job {step.job_id} {scope}: write",
        safety=Safety.REVIEW,
        operations=(edit,),
        permission=f"{step.job_id}:{scope}: write",
        explanation=f"GitHub refused the step what needs {scope}: write. Everything else the job may do stays as it is.",
    )


def _untrusted(context: Context) -> str:
    run = context.run
    if run.event not in _TRUSTED_EVENTS:
        event = run.event or "an event that is not known"
        return f"the run was started by {event}, for which the token may be read-only whatever the workflow says"
    if run.actor == "dependabot[bot]":
        return "runs that Dependabot starts have a read-only token"
    return ""


def _failing_step(issue: WorkflowIssue, context: Context) -> StepNode | None:
    path = context.run.path
    if issue.command:
        return locate(context.tree, issue, path)
    uses = issue.step_name.removeprefix("Run ")
    found = [
        step
        for candidate in candidate_paths(context.tree, issue, path)
        for step in steps(context.tree, candidate)
        if step.node.text("uses") == uses and job_matches(step, issue.job_name)
    ]
    return found[0] if len(found) == 1 else None


# --- which scope ------------------------------------------------------------------------------


def _scope(issue: WorkflowIssue, step: StepNode, context: Context) -> str | Declined:
    options, captures = context.options, issue.captures
    repository = captures.get("repository", "")
    if repository and context.run.repository and repository != context.run.repository:
        return Declined(reason=f"the step reaches for {repository}, where the workflow's own token has no rights")
    if url := captures.get("path", ""):
        found = {str(scope) for pattern, scope in options["paths"].items() if re.fullmatch(pattern, url)}
    else:
        found = _from_step(step, options)
    if len(found) == 1 and "" not in found:
        return found.pop()
    return Declined(reason="which permission the step needs does not follow from it for certain")


def _from_step(step: StepNode, options: Mapping[str, Any]) -> set[str]:
    """The scopes that the step writes to; an empty name among them stands for an unknown one."""
    uses = step.node.text("uses").partition("@")[0]
    if uses == "actions/github-script":
        return {options["calls"].get(call, "") for call in _CALL.findall(step.node.text("with", "script"))}
    if uses:
        return {options["actions"].get(uses, "")}
    return {
        options["commands"].get(" ".join(words[1:3]), "")
        for words in commands(step.node.text("run"))
        if words[0] == "gh"
    }


def _is_called(root: YamlNode) -> bool:
    on = root.get("on")
    if on is None:
        return False
    names = [on, *(key for key, _ in on.entries), *on.items]
    return any(name.value == "workflow_call" for name in names)


def _foreign_token(step: StepNode) -> str:
    uses = step.node.get("uses") is not None
    for place in (
        step.node.get("with") if uses else None,
        step.node.get("env"),
        step.job.get("env"),
        step.root.get("env"),
    ):
        for key, value in place.entries if place else ():
            if key.value in _TOKEN_KEYS:
                return "" if _OWN_TOKEN.fullmatch(value.value.strip()) else key.value
    return ""


# --- where it is written ----------------------------------------------------------------------


def _granted(step: StepNode, scope: str, text: str) -> Splice | Declined:
    if step.job.shared or step.job.flow:
        return Declined(reason=f"{step.path}: the job {step.job_id} is written in a way that can't be edited in place")
    block, route = step.job.get("permissions"), ("jobs", step.job_id, "permissions")
    if block is not None:
        return _in_block(step.path, text, block, scope, route)
    inherited = step.root.get("permissions")
    if inherited is not None and (inherited.kind != "mapping" or any(v.kind != "scalar" for _, v in inherited.entries)):
        return Declined(
            reason=f"{step.path} sets all permissions at once ({inherited.value}); list the ones the job needs"
        )
    had = tuple((k.value, v.value) for k, v in inherited.entries) if inherited else _DEFAULT
    if dict(had).get(scope) == "write":
        return Declined(reason=f"the job has {scope}: write already; GitHub refused for another reason")
    return _new_block(step, text, {**dict(had), scope: "write"}, route)


def _in_block(path: str, text: str, block: YamlNode, scope: str, route: Route) -> Splice | Declined:
    if block.kind != "mapping":
        return Declined(
            reason=f"{path} sets all permissions of the job at once ({block.value}); list the ones it needs"
        )
    if block.shared:
        return Declined(reason=f"{path}: other jobs share the block of permissions")
    present = block.get(scope)
    if present is not None and present.value == "write":
        return Declined(reason=f"the job has {scope}: write already; GitHub refused for another reason")
    unclear = Declined(reason=f"{path}: the permissions are written in a way that can't be edited in place")
    if present is not None:
        known = present.value in _LEVELS
        edit = within(path, text, present, present.value, "write", (*route, scope)) if known else None
        return edit or unclear
    if not block.entries:
        return within(path, text, block, "{}", f"{{{scope}: write}}", route) or unclear
    if block.flow:
        return insertion(path, block.entries[-1][1].end, f", {scope}: write", (*route, scope))
    indent = newline_of(text) + " " * block.entries[0][0].column
    return insertion(path, line_end(text, block.entries[-1][1].end), f"{indent}{scope}: write", (*route, scope))


def _new_block(step: StepNode, text: str, granted: Mapping[str, str], route: Route) -> Splice | Declined:
    anchor = step.job.key("runs-on")
    name = next(key for key, _ in step.root.get("jobs").entries if key.value == step.job_id)  # type: ignore[union-attr]
    if anchor is None:
        return Declined(reason=f"{step.path}: the job {step.job_id} has no runs-on")
    line = newline_of(text) + " " * anchor.column
    deeper = line + " " * (anchor.column - name.column)
    block = "permissions:" + "".join(f"{deeper}{scope}: {level}" for scope, level in granted.items())
    return insertion(step.path, anchor.start, block + line, route)
