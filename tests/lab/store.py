"""The bare git repositories behind the lab, through git itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ZERO = "0" * 40
_HOOK = Path(__file__).parent / "hooks" / "proc_receive.py"
PERSON = {
    "GIT_AUTHOR_NAME": "Mona Octocat",
    "GIT_AUTHOR_EMAIL": "octocat@users.noreply.github.com",
    "GIT_COMMITTER_NAME": "Mona Octocat",
    "GIT_COMMITTER_EMAIL": "octocat@users.noreply.github.com",
}


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment in which git sees no configuration of this machine."""
    kept = {key: os.environ[key] for key in ("PATH", "TMPDIR") if key in os.environ}
    return {
        **kept,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C.UTF-8",
        **PERSON,
        **(extra or {}),
    }


def git(directory: Path, *arguments: str, check: bool = True) -> str:
    """Run git in a directory; its output without the last newline."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=directory,
        env=environment(),
        check=False,
        capture_output=True,
        timeout=60,
    )
    if check and done.returncode:
        raise RuntimeError(f"git {' '.join(arguments)}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode(errors="replace").rstrip("\n") if done.returncode == 0 else ""


def create(bare: Path, default_branch: str) -> None:
    """A bare repository whose pushes go through the hook."""
    bare.mkdir(parents=True)
    git(bare, "init", "--quiet", "--bare", f"--initial-branch={default_branch}")
    _configure(bare)


def fork(source: Path, bare: Path) -> None:
    bare.parent.mkdir(parents=True, exist_ok=True)
    git(bare.parent, "clone", "--quiet", "--bare", str(source), str(bare))
    _configure(bare)


def _configure(bare: Path) -> None:
    for key, value in (
        ("http.receivepack", "true"),
        ("receive.procReceiveRefs", "refs/heads"),
        ("receive.procReceiveRefs", "refs/tags"),
        ("uploadpack.allowAnySHA1InWant", "true"),
        ("gc.auto", "0"),
        ("receive.autogc", "false"),
    ):
        git(bare, "config", "--add", key, value)
    shutil.rmtree(bare / "hooks", ignore_errors=True)
    (bare / "hooks").mkdir()
    hook = bare / "hooks" / "proc-receive"
    hook.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I "{_HOOK}"\n')
    hook.chmod(0o755)


def refs(bare: Path) -> dict[str, str]:
    """Every branch and tag with its object."""
    text = git(bare, "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags")
    return dict(line.split(" ") for line in text.splitlines())


def resolve(bare: Path, ref: str) -> str | None:
    """The commit of a branch, tag or SHA."""
    for candidate in (f"refs/heads/{ref}", f"refs/tags/{ref}", ref):
        found = git(bare, "rev-parse", "--verify", "--quiet", f"{candidate}^{{commit}}", check=False)
        if found:
            return found
    return None


def blob(bare: Path, commit: str, path: str) -> bytes | None:
    done = subprocess.run(
        ["git", "cat-file", "blob", f"{commit}:{path}"],
        cwd=bare,
        env=environment(),
        check=False,
        capture_output=True,
        timeout=30,
    )
    return done.stdout if done.returncode == 0 else None


def tree(bare: Path, commit: str, path: str = "", recursive: bool = False) -> list[tuple[str, str, str, str]]:
    """Entries (mode, type, sha, path from the root) of a directory."""
    arguments = ["ls-tree", "-z", *(["-r"] if recursive else []), commit]
    if path:
        arguments += ["--", path.rstrip("/") + "/"]
    entries = []
    for line in git(bare, *arguments, check=False).split("\0"):
        if line:
            head, name = line.split("\t", 1)
            mode, kind, sha = head.split()
            entries.append((mode, kind, sha, name))
    return entries


def files(bare: Path, ref: str) -> dict[str, str]:
    """All text of a ref, by path."""
    commit = resolve(bare, ref)
    if commit is None:
        return {}
    return {
        name: (blob(bare, commit, name) or b"").decode(errors="replace")
        for _, kind, _, name in tree(bare, commit, recursive=True)
        if kind == "blob"
    }


def commit_details(bare: Path, sha: str) -> dict[str, str]:
    text = git(bare, "show", "-s", "--format=%H%x00%T%x00%aI%x00%an%x00%ae%x00%cn%x00%ce%x00%B", sha)
    names = ("sha", "tree", "date", "author", "author_email", "committer", "committer_email", "message")
    return dict(zip(names, text.split("\0", 7), strict=True))


def changed_paths(bare: Path, old: str, new: str) -> list[str]:
    if old == ZERO:
        return git(bare, "ls-tree", "-r", "--name-only", new).splitlines()
    return git(bare, "diff", "--name-only", old, new).splitlines()


def commit_files(
    work: Path,
    bare: Path,
    changes: Mapping[str, str | bytes | None],
    *,
    branch: str,
    base: str | None,
    message: str,
    author: Mapping[str, str] | None = None,
    force: bool = False,
) -> tuple[str, str]:
    """Commit changes (None deletes) on a branch and push them as a person; (old, new) of the branch."""
    if not (work / ".git").exists():
        work.mkdir(parents=True, exist_ok=True)
        git(work, "init", "--quiet", "--initial-branch", branch)
        git(work, "remote", "add", "origin", str(bare))
    git(work, "fetch", "--quiet", "--prune", "origin", "+refs/heads/*:refs/remotes/origin/*")
    old = resolve(bare, f"refs/heads/{branch}")
    start = resolve(bare, base) if base else old
    git(work, "clean", "-qfdx")
    if start:
        git(work, "checkout", "--quiet", "--force", "-B", branch, start)
    else:
        git(work, "checkout", "--quiet", "--orphan", branch, check=False)
    for name, content in changes.items():
        path = work / name
        if content is None:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        if isinstance(content, str) and content.startswith("#!"):
            path.chmod(0o755)
    git(work, "add", "--all")
    done = subprocess.run(
        ["git", "commit", "--quiet", "--allow-empty", "-m", message],
        cwd=work,
        env=environment(author),
        check=False,
        capture_output=True,
        timeout=30,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    git(work, "push", "--quiet", *(["--force"] if force else []), "origin", f"HEAD:refs/heads/{branch}")
    return old or ZERO, git(work, "rev-parse", "HEAD")


def merge_commit(bare: Path, base: str, head: str, title: str) -> str | None:
    """The test merge GitHub makes for a pull request; None on a conflict."""
    found = git(bare, "merge-tree", "--write-tree", base, head, check=False).splitlines()
    if not found:
        return None
    return git(bare, "commit-tree", found[0], "-p", base, "-p", head, "-m", title)


def checkout(bare: Path, directory: Path, commit: str, url: str, branch: str | None) -> None:
    """What actions/checkout leaves: one commit, a remote at the server, the branch or a detached HEAD."""
    directory.mkdir(parents=True)
    git(directory, "init", "--quiet", "--initial-branch", branch or "main")
    git(directory, "fetch", "--quiet", "--depth=1", bare.as_uri(), commit)
    if branch:
        git(directory, "checkout", "--quiet", "-B", branch, "FETCH_HEAD")
    else:
        git(directory, "checkout", "--quiet", "--detach", "FETCH_HEAD")
    git(directory, "remote", "add", "origin", url)
