"""What every test shares: a bare environment, real git repositories, trees of real files, the engine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from orchestrator.edges.files import FolderTree

_RUNNERS_OWN = ("GITHUB_", "RUNNER_", "ACTIONS_", "INPUT_", "GIT_", "GH_")

Files = Mapping[str, str | bytes]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the runner, token or git settings of whoever runs it."""
    for name in list(os.environ):
        if name.startswith(_RUNNERS_OWN):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def engine() -> Iterator[object]:
    """A Docker engine with the shipped image; skips with the reason where none can start."""
    from lab.engine import engine_fixture

    yield from engine_fixture()


def write(folder: Path, files: Files) -> None:
    """Put files below a folder, byte for byte."""
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)


def git(folder: Path, *arguments: str, stdin: bytes = b"", check: bool = True) -> str:
    """Run the real git as a user without any configuration of their own."""
    environ = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.invalid",
        "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.invalid",
    }  # fmt: skip
    done = subprocess.run(["git", *arguments], cwd=folder, env=environ, input=stdin, capture_output=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"git {' '.join(arguments)}: {done.stderr.decode()}")
    return done.stdout.decode("utf-8", "surrogateescape")


@pytest.fixture
def make_tree(tmp_path: Path) -> Callable[[Files], FolderTree]:
    """A tree of real files in a folder of its own."""

    def make(files: Files) -> FolderTree:
        folder = tmp_path / f"tree-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        write(folder, files)
        return FolderTree(folder, list(files))

    return make


@pytest.fixture
def make_repo(tmp_path: Path) -> Callable[[Files], Path]:
    """A real git repository with one commit of the given files on ``main``."""

    def make(files: Files) -> Path:
        folder = tmp_path / f"repo-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        write(folder, files)
        git(folder, "init", "--quiet", "--initial-branch", "main")
        git(folder, "add", "--all", "--force")
        git(folder, "commit", "--quiet", "--allow-empty", "-m", "First")
        return folder

    return make
