"""The kinds of failure that are healed end to end, each as a small real repository.

A scenario is data: the files of a repository whose workflow goes red, what the orchestrator must
conclude, and what the repository must look like afterwards. The same scenarios run in the lab
(with the action) and on the command line (without GitHub).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One red run. ``expected`` maps changed files to text that must be in them afterwards."""

    name: str
    files: Mapping[str, str]
    rule: str
    decision: str
    expected: Mapping[str, str] = field(default_factory=dict)
    rungs: tuple[str, ...] = ()
    prepare: Callable[[Any], None] | None = None
    app_token: bool = True
    local: bool = True


def workflow(steps: str, *, head: str = "", runs_on: str = "ubuntu-latest", job: str = "") -> str:
    """A workflow with one job; ``steps`` are lines of YAML, ``job`` more keys of the job."""
    indented = "".join(f"      {line}\n" for line in steps.strip("\n").splitlines())
    more = "".join(f"    {line}\n" for line in job.strip("\n").splitlines())
    return f"name: CI\non: [push, pull_request]\n{head}jobs:\n  build:\n    runs-on: {runs_on}\n{more}    steps:\n{indented}"


CI = ".github/workflows/ci.yml"
VENV = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt"

REMOVED_ACTION = Scenario(
    name="removed action version",
    rule="actions/removed-action-version",
    decision="fix",
    files={
        CI: workflow(
            """
- uses: actions/checkout@v4
- run: echo built > result.txt
# what the next job needs
- uses: actions/upload-artifact@v3   # keep
  with: {name: result, path: result.txt}
"""
        )
    },
    expected={CI: "# what the next job needs\n      - uses: actions/upload-artifact@v"},
    rungs=("parsed", "checked"),
)

RETIRED_IMAGE = Scenario(
    name="retired runner image",
    rule="actions/runner-image-retired",
    decision="fix",
    files={CI: workflow("- uses: actions/checkout@v4\n- run: echo fine", runs_on="ubuntu-20.04")},
    expected={CI: "runs-on: ubuntu-2"},
    rungs=("parsed", "checked"),
    local=False,  # such a job has no log: what GitHub says of it is an annotation
)

UNDECLARED_MODULE = Scenario(
    name="undeclared Python module",
    rule="python/module-not-found",
    decision="fix",
    files={
        CI: workflow(
            f"""
- uses: actions/checkout@v4
- uses: actions/setup-python@v5
  with: {{python-version: "3.13"}}
- run: {VENV}
- name: Test
  run: .venv/bin/python -m pytest -q
"""
        ),
        "requirements.txt": "pytest\n",
        "menu.py": "import yaml\n\n\ndef dishes(text):\n    return yaml.safe_load(text)\n",
        "test_menu.py": "from menu import dishes\n\n\ndef test_dishes():\n    assert dishes('a: 1') == {'a': 1}\n",
    },
    expected={"requirements.txt": "PyYAML"},
    rungs=("parsed", "checked", "replayed"),
)

FORMATTER = Scenario(
    name="formatter check",
    rule="python/ruff-format",
    decision="fix",
    files={
        CI: workflow(
            f"""
- uses: actions/checkout@v4
- run: {VENV}
- run: .venv/bin/ruff format --check .
"""
        ),
        "requirements.txt": "ruff==0.9.7\n",
        "pyproject.toml": "[tool.ruff]\nline-length = 100\n",
        "app.py": "x = {  'a':1 }\n",
        ".gitignore": ".venv/\n",
    },
    expected={"app.py": 'x = {"a": 1}\n'},
    rungs=("parsed", "checked", "replayed"),
)

LOCK_FILE = Scenario(
    name="npm lock file out of step",
    rule="node/lockfile-out-of-sync",
    decision="fix",
    files={
        CI: workflow(
            """
- uses: actions/checkout@v4
- uses: actions/setup-node@v4
  with: {node-version: "20"}
- run: npm ci
"""
        ),
        "package.json": '{\n  "name": "demo",\n  "version": "1.0.0",\n  "dependencies": {\n    "is-number": "^7.0.0"\n  }\n}\n',
        "package-lock.json": '{\n  "name": "demo",\n  "version": "1.0.0",\n  "lockfileVersion": 3,\n  "requires": true,\n'
        '  "packages": {\n    "": {\n      "name": "demo",\n      "version": "1.0.0"\n    }\n  }\n}\n',
        ".gitignore": "node_modules/\n",
    },
    expected={"package-lock.json": "node_modules/is-number"},
    rungs=("parsed", "checked", "replayed"),
)


def _flaky_registry(lab: Any) -> None:
    lab.registry.wheel("lab-parcel", "1.0", {"lab_parcel.py": "weight = 1\n"})
    lab.registry.fail_next(1, path="/files/")


TRANSIENT = Scenario(
    name="registry out of order",
    rule="network/registry-unavailable",
    decision="rerun",
    files={
        CI: workflow(
            """
- uses: actions/checkout@v4
- run: python3 -m venv .venv
- run: .venv/bin/pip install --retries 0 --index-url {index} lab-parcel
"""
        )
    },
    prepare=_flaky_registry,
    app_token=False,
    local=False,
)

FAILING_TEST = Scenario(
    name="failing assertion",
    rule="python/test-failure",
    decision="guidance",
    files={
        CI: workflow(f"- uses: actions/checkout@v4\n- run: {VENV}\n- run: .venv/bin/python -m pytest -q"),
        "requirements.txt": "pytest\n",
        "test_sum.py": "def test_sum():\n    assert 1 + 1 == 3\n",
    },
)

FORGED_LINE = Scenario(
    name="forged log line",
    rule="actions/removed-action-version",
    decision="decline",
    files={
        CI: workflow("- uses: actions/checkout@v4\n- uses: actions/upload-artifact@v3\n  if: false\n- run: sh test.sh").replace(
            "@v3", "@v4"
        ),
        "test.sh": "echo 'This request has been automatically failed because it uses a deprecated version of "
        "`actions/upload-artifact: v4`. Learn more: https://github.blog/changelog/'\nexit 1\n",
    },
)

ALL = (REMOVED_ACTION, RETIRED_IMAGE, UNDECLARED_MODULE, FORMATTER, LOCK_FILE, TRANSIENT, FAILING_TEST, FORGED_LINE)
