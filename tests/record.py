"""Records a case: really runs a job's steps and writes what GitHub's runner would have logged.

    python tests/record.py FOLDER JOB OUT.case --source "pytest 8.3, run here" [--path DIR]

FOLDER holds a small repository with its workflow file; it is copied, so nothing in it changes.
``run:`` steps are executed by bash until one fails; a ``uses:`` step only leaves its opening
lines. Registry hosts and paths of this machine are rewritten. Bless the case afterwards with
``UPDATE_CASES=1 pytest tests/test_catalogue.py``.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from case import MemoryTree

from orchestrator.recipes._shell import working_directory
from orchestrator.workflow import StepNode, steps, workflow_paths
from orchestrator.yamlnode import YamlNode

WORK = "/home/runner/work/project/project"
_HOST = re.compile(
    r"(?<=//)(?!registry\.example)[\w.-]*(?:pypi|npmjs|pythonhosted|crates|golang|maven)[\w.-]*|(?<=//)127\.0\.0\.1:\d+"
)
_LIBRARY = re.compile(r"(?<![\w/])/\S*?/lib/python(3\.\d+)/")
_FIND_LINKS = re.compile(r"^Looking in (?:links|indexes): .*\n", re.MULTILINE)


class Log:
    """Lines as the runner writes them, each a little later than the one before."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 9, 14, 3, 512345, tzinfo=UTC)
        self.lines: list[str] = []

    def add(self, text: str) -> None:
        self.now += timedelta(milliseconds=37, microseconds=len(text) * 13)
        self.lines.append(f"{self.now:%Y-%m-%dT%H:%M:%S.%f}7Z {text}\n")


def preamble(log: Log, job: YamlNode, name: str) -> None:
    """What "Set up job" prints before the first step."""
    log.add("Current runner version: '2.335.0'")
    log.add("##[group]Operating System")
    log.add("Ubuntu")
    log.add("24.04.3")
    log.add("LTS")
    log.add("##[endgroup]")
    log.add("##[group]GITHUB_TOKEN Permissions")
    for line in ("Contents: read", "Metadata: read", "Packages: read"):
        log.add(line)
    log.add("##[endgroup]")
    log.add("Secret source: Actions")
    log.add("Prepare workflow directory")
    log.add("Prepare all required actions")
    log.add("Getting action download info")
    for step in job.at("steps").items:  # type: ignore[union-attr]
        if (uses := step.text("uses")) and not uses.startswith("./"):
            log.add(f"Download action repository '{uses}' (SHA:{'0' * 40})")
    log.add(f"Complete job name: {name}")


def opening(log: Log, step: YamlNode) -> None:
    """The group in which the runner echoes a step."""
    script = step.text("run").rstrip("\n")
    log.add(f"##[group]Run {step.text('uses') or script.splitlines()[0]}")
    for line in script.splitlines() if script else ():
        log.add(f"\x1b[36;1m{line}\x1b[0m")
    if script:
        log.add("shell: /usr/bin/bash -e {0}")
    for title in ("with", "env"):
        block = step.get(title)
        if block is not None and block.entries:
            log.add(f"{title}:")
            for key, value in block.entries:
                log.add(f"  {key.value}: {value.value}")
    log.add("##[endgroup]")


def run(job: StepNode, folder: Path, path: str) -> Iterator[tuple[YamlNode, str, int]]:
    """Execute the steps until one fails; yields each with its output and exit code."""
    home = folder / "home"
    home.mkdir()
    keep = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "UV_", "NODE_EXTRA"))}
    for step in job.steps:
        output, code = "", 0
        if script := step.text("run"):
            env = {"PATH": f"{path}:/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "CI": "true", "LANG": "C.UTF-8"}
            block = step.get("env")
            extra = {key.value: value.value for key, value in (block.entries if block else ())}
            done = subprocess.run(
                ["bash", "-e", "-c", script], cwd=folder / "repository" / working_directory(job, step),
                env={**keep, **env, **extra}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
            output, code = done.stdout.decode("utf-8", "replace"), done.returncode
        yield step, _impersonal(output, folder, path), code
        if code:
            return


def _impersonal(output: str, folder: Path, path: str) -> str:
    output = _FIND_LINKS.sub("", output.replace(str(folder / "repository"), WORK).replace(str(folder), "/home/runner"))
    output = _LIBRARY.sub(r"/opt/hostedtoolcache/Python/\1/x64/lib/python\1/", output)
    for tools in filter(None, path.split(":")):
        output = output.replace(str(Path(tools).parent), "/opt/hostedtoolcache/tools")
    return _HOST.sub("registry.example", output)


def main() -> None:
    """Run the job and write the case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("job")
    parser.add_argument("out", type=Path)
    parser.add_argument("--source", required=True)
    parser.add_argument("--path", default="")
    parser.add_argument("--sandbox", action="store_true", help="the fix will run a tool")
    given = parser.parse_args()
    files = {
        p.relative_to(given.folder).as_posix(): p.read_text("utf-8")
        for p in sorted(given.folder.rglob("*")) if p.is_file() and ".git/" not in str(p)
    }  # fmt: skip
    tree = MemoryTree(files)
    found = [s for p in workflow_paths(tree) for s in steps(tree, p) if s.job_id == given.job]
    log = Log()
    preamble(log, found[0].job, given.job)
    with tempfile.TemporaryDirectory() as temporary:
        shutil.copytree(given.folder, Path(temporary, "repository"))
        for step, output, code in run(found[0], Path(temporary), given.path):
            opening(log, step)
            for line in output.splitlines():
                log.add(line)
            if code:
                log.add(f"##[error]Process completed with exit code {code}.")
    log.add("Post job cleanup.")
    log.add("Cleaning up orphan processes")
    head = f"#=SOURCE=# {given.source}\n#=RUN=# job={given.job}\n#=RUN=# path={found[0].path}\n"
    head += "#=SANDBOX=# needed\n" if given.sandbox else ""
    body = "#=FILE=# log\n" + "".join(log.lines)
    body += "".join(f"#=FILE=# before/{path}\n{text}" for path, text in files.items())
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(head + body, "utf-8")


if __name__ == "__main__":
    main()
