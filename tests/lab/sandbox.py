"""What a CI job finds on its machine: a home, a Python of its own, shells without a terminal."""

from __future__ import annotations

import re
import shutil
import sys
import sysconfig
import venv
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from . import logs, store

_STEP_SHELL = """#!/bin/bash
# act gives a step a terminal, GitHub does not: tools would colour and draw. The last line tells
# the exit code of a step whose failure is allowed, which act keeps to itself.
"$@" </dev/null 2>&1 | cat
code=${PIPESTATUS[0]}
echo "::lab-exit::$code"
exit "$code"
"""


# What act keeps beside the scripts of the steps.
_FILES = r"event\.json|envs\.txt|outputcmd\.txt|pathcmd\.txt|statecmd\.txt|SUMMARY\.md"


def _link_distribution(name: str, site: Path, seen: set[str]) -> None:
    """Make an installed distribution and what it needs importable in another environment."""
    name = re.sub(r"[-_.]+", "-", name).lower()
    if name in seen:
        return
    seen.add(name)
    found = metadata.distribution(name)
    tops = {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}
    for top in tops:
        source, target = Path(str(found.locate_file(top))), site / top
        if source.exists() and not target.exists():
            target.symlink_to(source)
    binaries = site.parents[2] / "bin"
    for entry in found.entry_points:
        if entry.group == "console_scripts":
            script = binaries / entry.name
            script.write_text(
                f"#!{binaries / 'python'}\nimport sys\nfrom {entry.module} import {entry.attr.split('.')[0]}\n"
                f"sys.exit({entry.attr}())\n"
            )
            script.chmod(0o755)
    for text in found.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            _link_distribution(requirement.name, site, seen)


class Sandbox:
    """One machine for one attempt, removed with it."""

    def __init__(self, root: Path, packages: Iterable[str]):
        self.root = root
        self.home, self.cache, self.tools = root / "home", root / "cache", root / "tools"
        self.home.mkdir(parents=True)
        (self.home / ".gitconfig").write_text("[init]\n\tdefaultBranch = main\n[safe]\n\tdirectory = *\n")
        venv.EnvBuilder(symlinks=True, with_pip=False).create(self.tools)
        site = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(self.tools), "platbase": str(self.tools)}))
        seen: set[str] = set()
        for name in packages:
            _link_distribution(name, site, seen)
        self.step_shell = root / "step-shell"
        self.step_shell.write_text(_STEP_SHELL)
        self.step_shell.chmod(0o755)

    def environment(self) -> dict[str, str]:
        """The environment of act's own process, and so of host jobs."""
        node = shutil.which("node")
        path = [str(self.tools / "bin"), "/usr/local/bin", "/usr/bin", "/bin"]
        if node and str(Path(node).parent) not in path:
            path.append(str(Path(node).parent))
        base = store.environment(
            {
                "PATH": ":".join(path),
                "HOME": str(self.home),
                "GIT_PAGER": "cat",
                "PAGER": "cat",
                "ACT_DISABLE_VERSION_CHECK": "1",
                "LANG": "C.UTF-8",
                "ImageOS": "ubuntu24",
                "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                "PIP_ROOT_USER_ACTION": "ignore",
            }
        )
        drop = ("GIT_CONFIG_GLOBAL", "GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
        return {key: value for key, value in base.items() if key not in drop}

    def cleaner(self, repository: str) -> list[tuple[re.Pattern[str], object]]:
        """How paths of this machine are written as those of GitHub's runner."""
        name = repository.split("/")[1]
        machine = re.escape(str(self.cache)) + r"/[0-9a-f]+"

        def script(match: re.Match[str]) -> str:
            line = match[1]  # act puts an empty line before the script
            return logs.script_path() + (f": line {int(line) - 1}" if line else "")

        return [
            (re.compile(machine + rf"/act/workflow/(?!{_FILES})[\w.-]+(?:: line (\d+))?"), script),
            (re.compile(machine + r"/act/workflow"), "/home/runner/work/_temp/_runner_file_commands"),
            (re.compile(machine + r"/hostexecutor"), f"/home/runner/work/{name}/{name}"),
            (re.compile(machine + r"/tmp"), "/home/runner/work/_temp"),
            (re.compile(re.escape(str(self.tools))), logs.TOOLS),
            (re.compile(re.escape(sysconfig.get_path("stdlib"))), f"{logs.TOOLS}/lib/python3.{sys.version_info.minor}"),
            (re.compile(re.escape(str(self.home))), "/home/runner"),
            (re.compile(re.escape(str(self.root))), "/home/runner/work/_temp"),
        ]

    def remove(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)


def cleaned(text: str, rules: Sequence[tuple[re.Pattern[str], object]]) -> str:
    for pattern, value in rules:
        text = pattern.sub(value, text)  # type: ignore[arg-type]
    return text
