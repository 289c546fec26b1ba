"""Where act finds the actions a workflow uses: stand-ins beside this file, and our own action.

GitHub's actions cannot be downloaded here, so small composite actions stand in for them; each
says in its action.yml what it leaves out. Our own action is the project's: its built image when
there is a Docker engine, else its entry point under the runner's environment.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import workflows
from .sandbox import Sandbox

if TYPE_CHECKING:
    from .world import Lab

STAND_INS = Path(__file__).parent / "actions"
PROJECT = Path(__file__).resolve().parents[2]


def mapping(lab: Lab, box: Sandbox, document: Mapping[str, Any]) -> dict[str, Path]:
    """`owner/repo@ref` of every action the workflow uses, with its directory."""
    found: dict[str, Path] = {}
    for job in document["jobs"].values():
        for use in workflows.remote_actions(job):
            name, _, ref = use.partition("@")
            repository = "/".join(name.split("/")[:2])
            if repository == workflows.OUR_ACTION:
                found[f"{repository}@{ref}"] = _ours(lab, box)
            elif (STAND_INS / repository.split("/")[1] / "action.yml").exists():
                found[f"{repository}@{ref}"] = STAND_INS / repository.split("/")[1]
    return found


def _ours(lab: Lab, box: Sandbox) -> Path:
    directory = box.root / "our-action"
    if directory.exists():
        return directory
    directory.mkdir()
    metadata = workflows.load((PROJECT / "action.yml").read_text())
    if lab.engine:
        metadata["runs"]["image"] = f"docker://{lab.engine.image}"
    else:
        metadata |= _composite(metadata, box)
    (directory / "action.yml").write_text(json.dumps(metadata))
    return directory


def _composite(metadata: Mapping[str, Any], box: Sandbox) -> dict[str, Any]:
    """The same action without a container: entrypoint.py gets the inputs as the runner gives them."""
    environment = {
        f"INPUT_{name.upper().replace(' ', '_')}": f"${{{{ inputs.{name} }}}}" for name in metadata.get("inputs") or {}
    }
    environment |= {key: str(value) for key, value in (metadata["runs"].get("env") or {}).items()}
    script = "\n".join(
        [
            "import os, runpy, sys",
            # The image has the project's tools on its PATH; here they are beside this Python.
            f"os.environ['PATH'] = {str(Path(sys.executable).parent)!r} + os.pathsep + os.environ['PATH']",
            f"sys.path.insert(0, {str(PROJECT)!r})",
            f"runpy.run_path({str(PROJECT / 'entrypoint.py')!r}, run_name='__main__')",
        ]
    )
    outputs = {
        name: {"description": one.get("description", name), "value": f"${{{{ steps.entry.outputs.{name} }}}}"}
        for name, one in (metadata.get("outputs") or {}).items()
    }
    step = {"id": "entry", "shell": f"{box.step_shell} {sys.executable} {{0}}", "env": environment, "run": script}
    return {"outputs": outputs, "runs": {"using": "composite", "steps": [step]}}
