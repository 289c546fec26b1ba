"""The house rules that a machine can check."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
HEAVY = {"httpx", "git", "ruamel", "rich", "re2", "jinja2", "actions_toolkit", "stamina", "jsonschema_rs"}


def tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=PROJECT, capture_output=True, text=True, check=False)


def test_lint() -> None:
    done = tool("-m", "ruff", "check", "--no-cache", "orchestrator", "entrypoint.py")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_edges_alone_reach_outside(tmp_path: Path) -> None:
    stage = PROJECT / "orchestrator" / "plan.py"
    source = "import httpx\nimport subprocess\nimport os\n\nprint(httpx, subprocess, os.environ)\n"
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise", "--stdin-filename", str(stage), "-"]
    done = subprocess.run(command, cwd=PROJECT, input=source, capture_output=True, text=True, check=False)
    assert done.stdout.count("TID251") == 3, done.stdout


def test_types() -> None:
    pytest.importorskip("mypy", reason="mypy is in the dependency group lint")
    done = tool("-m", "mypy")
    assert done.returncode == 0, done.stdout


def test_modules_stay_small() -> None:
    long = {p.name: n for p in (PROJECT / "orchestrator").rglob("*.py") if (n := len(p.read_text().splitlines())) > 400}
    assert not long


def test_the_command_line_starts_light() -> None:
    done = tool("-X", "importtime", "-m", "orchestrator", "--help")
    assert done.returncode == 0
    imported = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "argparse" in imported and not imported & HEAVY
