"""What is said in several places is said the same: metadata, settings, README, examples."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import orchestrator
from orchestrator import app
from orchestrator.model import Report

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text()
EXAMPLES = sorted((PROJECT / "examples").glob("*.yml"))
WORKFLOWS = [*EXAMPLES, *sorted((PROJECT / ".github" / "workflows").glob("*.yml"))]
READ_ONLY = {"report-only.yml": {"actions": "read", "checks": "read", "contents": "read"}}
FULL = {"actions": "write", "checks": "read", "contents": "write", "pull-requests": "write"}


def load(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text())


ACTION = load(PROJECT / "action.yml")


def section(title: str) -> str:
    found = re.search(rf"^### {title}\n(.*?)(?=^##)", README, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def test_inputs() -> None:
    source = (PROJECT / "orchestrator" / "settings.py").read_text()
    read = set(re.findall(r'_(?:input|number|flag)\(environ, "([\w-]+)"\)', source))
    table = re.findall(r"^\| `([\w-]+)` \|", section("Inputs"), re.MULTILINE)
    assert set(ACTION["inputs"]) == read == set(table)
    assert table == list(ACTION["inputs"]), "in the same order"
    assert ACTION["inputs"]["token"]["default"] == "${{ github.token }}"
    assert not [name for name, one in ACTION["inputs"].items() if one.get("required") or not one["description"]]


def test_outputs() -> None:
    given = app.outputs(Report(runs=(), issues=()), "")
    assert set(ACTION["outputs"]) == set(given) == set(re.findall(r"`([\w-]+)`", section("Outputs")))


def test_marketplace() -> None:
    assert ACTION["name"] == "MCP Orchestrator"
    assert 0 < len(ACTION["description"]) < 125
    assert ACTION["branding"]["color"] in {"white", "black", "yellow", "blue", "green", "orange", "red", "purple", "gray-dark"}
    assert ACTION["branding"]["icon"] in {"activity", "shield", "refresh-cw", "life-buoy", "heart", "zap", "git-pull-request"}
    assert ACTION["runs"] == {"using": "docker", "image": "Dockerfile"}
    assert [p.name for p in PROJECT.glob("action.y*ml")] == ["action.yml"]
    assert (PROJECT / "Dockerfile").is_file()
    assert "MIT" in (PROJECT / "LICENSE").read_text()


def test_the_version_stands_in_one_place() -> None:
    version = re.escape(orchestrator.__version__)
    holders = [p for p in (PROJECT / "orchestrator").rglob("*.py") if re.search(rf'"{version}"', p.read_text())]
    assert [p.name for p in holders] == ["__init__.py"]
    assert 'dynamic = ["version"]' in (PROJECT / "pyproject.toml").read_text()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_are_valid_and_narrow(path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("actionlint"), "-no-color", "-shellcheck=", "-pyflakes=", path.name],
        cwd=path.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    # The checker may be older than an action's newest inputs; what it says of our file must be nothing else.
    wrong = [line for line in done.stdout.splitlines() if re.match(rf"{path.name}:\d+", line) and "create-github-app-token" not in line]
    assert not wrong, wrong
    workflow = load(path)
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 30
        for step in job["steps"]:
            uses = step.get("uses", "")
            if uses.startswith("mcp-orchestrator/") or uses == "./":
                assert set(step.get("with", {})) <= set(ACTION["inputs"])
                if path.name != "with-app-token.yml":
                    assert dict(job["permissions"]).items() <= READ_ONLY.get(path.name, {**FULL}).items()
    outputs = re.findall(r"steps\.(?:heal|diagnose)\.outputs\.([\w-]+)", path.read_text())
    assert set(outputs) <= set(ACTION["outputs"])


def test_every_example_is_listed() -> None:
    listed = re.findall(r"^\| \[([\w-]+\.yml)\]\(\1\)", (PROJECT / "examples" / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == [path.name for path in EXAMPLES]


@pytest.mark.parametrize("path", [PROJECT / "README.md", PROJECT / "examples" / "README.md", *(PROJECT / "docs").glob("*.md")], ids=lambda p: p.name)
def test_links_and_files_lead_somewhere(path: Path) -> None:
    text = path.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    broken = [link for link in links if not (path.parent / link).exists()]
    broken += [name for name in re.findall(r"`((?:examples|scripts|docs|tests|orchestrator)/[\w./-]+)`", text) if not (PROJECT / name).exists()]
    assert not broken


def test_the_first_commands_of_the_readme_exist() -> None:
    commands = re.findall(r"^\./(scripts/\S+)(.*)$", README, re.MULTILINE)
    assert [arguments.strip() for _, arguments in commands] == ["", "--test"]
    for script, _ in commands:
        assert (PROJECT / script).stat().st_mode & 0o111


def test_nothing_names_a_package_registry_or_this_machine() -> None:
    if not (PROJECT / ".git").exists():
        pytest.skip("not a git checkout: tracked files are not known")
    hosts = ["pypi" + ".org", "pythonhosted" + ".org", "registry.npmjs" + ".org", "deb.debian" + ".org"]
    folders = [f"(^|[^[:alnum:]_.}}~)-])/{name}/" for name in ("wo" + "rk",)]
    patterns = [part for needle in (*(re.escape(host) for host in hosts), *folders) for part in ("-e", needle)]
    # Recorded logs name what the machine of their time named.
    skipped = [":!orchestrator/catalogue/*.case"]
    done = subprocess.run(["git", "grep", "-nIE", *patterns, "--", ".", *skipped], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.stdout == ""
