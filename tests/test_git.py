"""Git: nothing that a repository brings along is run, nothing of the user's is moved, no token is seen."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Files, git, write
from lab import Lab, lab_or_skip

from orchestrator.edges.git import Clone, GitRepository, clone, create, open_local
from orchestrator.errors import AccessDenied, Conflict, ServiceError, UsageError
from orchestrator.model import FileChange

MakeRepo = Callable[[Files], Path]

CI = ".github/workflows/ci.yml"
BRANCH = "mcp-orchestrator/abc"


def change(path: str, before: bytes | None, after: bytes | None) -> FileChange:
    return FileChange(path=path, before=before, after=after)


def shown(folder: Path, what: str) -> bytes:
    return subprocess.run(["git", "show", what], cwd=folder, check=True, capture_output=True).stdout


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        p.relative_to(folder).as_posix(): (p.read_bytes(), p.stat().st_mtime_ns)
        for p in folder.rglob("*") if p.is_file() and ".git" not in p.relative_to(folder).parts
    }  # fmt: skip


class TestLocal:
    def test_the_files_that_git_does_not_ignore(self, make_repo: MakeRepo) -> None:
        folder = make_repo({"a": "1", "d/b": "2", ".gitignore": "*.o\n", "\u00e9 x": "3"})
        write(folder, {"new": "n", "x.o": "o", "-f": "dash"})
        (folder / "link").symlink_to("a")
        assert list(open_local(folder).tree().paths()) == ["-f", ".gitignore", "a", "d/b", "new", "\u00e9 x"]

    def test_a_folder_inside_sees_only_its_own(self, make_repo: MakeRepo) -> None:
        folder = make_repo({"a": "1", "d/b": "2", "d/e/c": "3"})
        assert list(open_local(folder / "d").tree().paths()) == ["b", "e/c"]

    def test_what_is_no_repository(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="git init"):
            open_local(tmp_path)
        with pytest.raises(UsageError, match="no such folder"):
            open_local(tmp_path / "absent")
        git(tmp_path, "init", "--quiet")
        with pytest.raises(UsageError, match="with a commit"):
            open_local(tmp_path)

    def test_what_has_uncommitted_changes(self, make_repo: MakeRepo) -> None:
        folder = make_repo({"a": "1", "b": "1", "c": "1", "*": "1", "d/x": "1"})
        write(folder, {"b": "2", "new": "n"})
        git(folder, "rm", "--quiet", "--cached", "c")
        repository = open_local(folder)
        assert set(repository.dirty(["a", "b", "c", "new", "absent"])) == {"b", "c", "new"}
        assert repository.dirty(["*"]) == () and repository.dirty([]) == ()
        write(folder, {"d/x": "2"})
        assert open_local(folder / "d").dirty(["x"])

    def test_changes_are_written_into_the_work_tree(self, make_repo: MakeRepo) -> None:
        folder = make_repo({"d/a": "1"})
        open_local(folder / "d").apply([change("a", b"1", b"2"), change("n", None, b"n")])
        assert (folder / "d/a").read_bytes() == b"2" and (folder / "d/n").read_bytes() == b"n"


class TestCommit:
    def test_modes_and_bytes_are_kept_and_the_work_tree_is_not_touched(self, make_repo: MakeRepo) -> None:
        folder = make_repo({"run.sh": "1\r\n", "a": "1", "gone": "x", "keep": "k"})
        (folder / "run.sh").chmod(0o755)
        git(folder, "commit", "--quiet", "-am", "x")
        write(folder, {"staged": "s", "keep": "mine"})
        git(folder, "add", "staged")
        index, before = (folder / ".git/index").read_bytes(), snapshot(folder)
        sha = open_local(folder).commit(
            [change("run.sh", b"1\r\n", b"2\r\n"), change("a", b"1", b"\xff\0"), change("gone", b"x", None), change("n/e w", None, b"n")],
            branch=BRANCH, message="Mend\n\nWhy\n",
        )  # fmt: skip
        assert (folder / ".git/index").read_bytes() == index and snapshot(folder) == before
        assert git(folder, "rev-parse", "--abbrev-ref", "HEAD").strip() == "main"
        assert git(folder, "rev-parse", BRANCH).strip() == sha and git(folder, "rev-parse", f"{BRANCH}^") == git(folder, "rev-parse", "main")
        assert git(folder, "diff", "--raw", "--abbrev=1", "-z", "main", BRANCH).count("100755 100755") == 1
        assert git(folder, "ls-tree", "-r", "--name-only", "-z", BRANCH).split("\0")[:-1] == ["a", "keep", "n/e w", "run.sh"]
        assert shown(folder, f"{BRANCH}:run.sh") == b"2\r\n" and shown(folder, f"{BRANCH}:a") == b"\xff\0"
        assert git(folder, "log", "-1", "--format=%an|%B", BRANCH).startswith("mcp-orchestrator|Mend\n\nWhy")
        assert not list((folder / ".git").glob("mcp-*")) + list((folder / ".git").glob("blob-*"))

    def test_the_same_mend_is_the_same_commit(self, make_repo: MakeRepo, tmp_path: Path) -> None:
        folder = make_repo({"a": "1"})
        twin = tmp_path / "twin"
        shutil.copytree(folder, twin)
        mend = [change("a", b"1", b"2")]
        shas = {open_local(f).commit(mend, branch=BRANCH, message="M") for f in (folder, folder, twin)}
        assert len(shas) == 1

    def test_a_branch_with_other_content_is_not_moved(self, make_repo: MakeRepo) -> None:
        folder = make_repo({"a": "1"})
        first = open_local(folder).commit([change("a", b"1", b"2")], branch=BRANCH, message="M")
        with pytest.raises(Conflict, match=BRANCH):
            open_local(folder).commit([change("a", b"1", b"3")], branch=BRANCH, message="M")
        assert git(folder, "rev-parse", BRANCH).strip() == first

    def test_from_a_folder_inside(self, make_repo: MakeRepo) -> None:
        folder = make_repo({"d/a": "1", "d/gone": "x", "gone": "stays", "a": "other"})
        (folder / "d/a").chmod(0o755)
        git(folder, "commit", "--quiet", "-am", "x")
        open_local(folder / "d").commit([change("a", b"1", b"2"), change("gone", b"x", None), change("n", None, b"n")], branch=BRANCH, message="M")
        told = git(folder, "diff", "--raw", "--abbrev=4", "main", BRANCH).splitlines()
        assert [(line.split()[1], line.split("\t")[1]) for line in told] == [("100755", "d/a"), ("000000", "d/gone"), ("100644", "d/n")]

    def test_a_checkout_with_other_line_endings_changes_only_what_was_meant(self, make_repo: MakeRepo) -> None:
        folder = make_repo({".gitattributes": "*.bat text eol=crlf\n", "a.bat": "one\ntwo\n"})
        (folder / "a.bat").unlink()
        git(folder, "checkout", "--quiet", "a.bat")
        assert (folder / "a.bat").read_bytes() == b"one\r\ntwo\r\n"
        open_local(folder).commit([change("a.bat", b"one\r\ntwo\r\n", b"one\r\n2\r\n")], branch=BRANCH, message="M")
        assert shown(folder, f"{BRANCH}:a.bat") == b"one\n2\n"

    def test_a_repository_with_longer_hashes(self, tmp_path: Path) -> None:
        write(tmp_path, {"a": "1"})
        git(tmp_path, "init", "--quiet", "--object-format=sha256", "--initial-branch", "main")
        git(tmp_path, "add", "a")
        git(tmp_path, "commit", "--quiet", "-m", "x")
        assert len(open_local(tmp_path).commit([change("a", b"1", b"2")], branch=BRANCH, message="M")) == 64

    @pytest.mark.parametrize("branch", ["--upload-pack=x", "-d", "a b", "a..b", "a\nb", "", "x.lock", "a:b", "@{-1}", "refs^"])
    def test_a_name_that_is_no_branch_is_refused(self, make_repo: MakeRepo, branch: str) -> None:
        folder = make_repo({"a": "1"})
        refs = git(folder, "for-each-ref")
        for act in (lambda r: r.commit([change("a", b"1", b"2")], branch=branch, message="M"), lambda r: r.push(branch, "a" * 40)):
            with pytest.raises(ServiceError, match="no valid branch name"):
                act(open_local(folder))
        assert git(folder, "for-each-ref") == refs

    def test_odd_names_stay_words(self, make_repo: MakeRepo) -> None:
        folder = make_repo({"a": "1"})
        branch = "$(touch${IFS}x);`id`"
        assert open_local(folder).commit([change("a", b"1", b"2"), change("--force", None, b"f")], branch=branch, message="--amend")
        assert git(folder, "ls-tree", "--name-only", f"refs/heads/{branch}").split() == ["--force", "a"]

    def test_a_repository_is_made_of_a_folder(self, tmp_path: Path) -> None:
        write(tmp_path, {"a": "1\r\n"})
        create(tmp_path, message="First")
        assert open_local(tmp_path).head and shown(tmp_path, "main:a") == b"1\r\n"


@pytest.fixture
def trap(tmp_path: Path) -> Callable[[str], str]:
    """A command for each place that git would run one from; what it is called is left as a file."""
    (tmp_path / "fired").mkdir()

    def make(name: str) -> str:
        script = tmp_path / "traps" / name
        write(tmp_path, {f"traps/{name}": f'#!/bin/sh\ntouch "{tmp_path}/fired/{name}"\ncat\n'})
        script.chmod(0o755)
        return str(script)

    return make


def booby_trapped(folder: Path, trap: Callable[[str], str]) -> None:
    """Everything in a repository's own hands that makes git run a program."""
    hooks = folder / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("pre-commit", "post-commit", "post-checkout", "post-index-change", "reference-transaction", "pre-push", "commit-msg",
                 "prepare-commit-msg", "applypatch-msg", "fsmonitor-watchman", "post-applypatch", "push-to-checkout"):  # fmt: skip
        (hooks / name).write_text(f"#!/bin/sh\n{trap('hook-' + name)} </dev/null\n")
        (hooks / name).chmod(0o755)
    settings = {
        "core.fsmonitor": trap("fsmonitor"), "core.hooksPath": str(hooks), "core.sshCommand": trap("ssh"), "core.pager": trap("pager"),
        "core.editor": trap("editor"), "core.askPass": trap("askpass"), "credential.helper": "!" + trap("credential"),
        "diff.external": trap("diff-external"), "diff.evil.textconv": trap("textconv"), "diff.evil.command": trap("diff-command"),
        "filter.evil.clean": trap("clean"), "filter.evil.smudge": trap("smudge"), "filter.evil.required": "true",
        "filter.long.process": trap("process"), "gpg.program": trap("gpg"), "commit.gpgSign": "true", "log.showSignature": "true",
        "pager.ls-files": trap("pager-ls-files"), "pager.show": trap("pager-show"), "alias.status": "!" + trap("alias"),
        "remote.origin.url": f"ext::{trap('ext')}", "remote.origin.promisor": "true", "extensions.partialClone": "origin",
        f"url.ext::{trap('instead')}.insteadOf": "https://", "uploadpack.packObjectsHook": trap("pack-objects"),
        "submodule.recurse": "true", "status.submoduleSummary": "true", "core.gitProxy": trap("proxy"),
    }  # fmt: skip
    for key, value in settings.items():
        git(folder, "config", key, value)
    (folder / "included").write_text(f'[filter "other"]\n\tclean = {trap("included-clean")}\n[core]\n\tfsmonitor = {trap("included-fsmonitor")}\n')
    git(folder, "config", "include.path", "../included")


class TestTraps:
    """T4: the user's own repository may hold another's settings; none of them is obeyed."""

    FILES: Files = {
        ".gitattributes": "*.evil filter=evil diff=evil\n*.long filter=long\n*.other filter=other\n",
        "a.evil": "1\n", "a.long": "1\n", "a.other": "1\n", "a.txt": "1\n",
    }  # fmt: skip

    @pytest.fixture
    def trapped(self, make_repo: MakeRepo, trap: Callable[[str], str]) -> Path:
        folder = make_repo(self.FILES)
        inner = folder / "sub"
        inner.mkdir()
        write(inner, {"x": "1"})
        git(inner, "init", "--quiet")
        git(inner, "add", "x")
        git(inner, "commit", "--quiet", "-m", "x")
        write(folder, {".gitmodules": '[submodule "sub"]\n\tpath = sub\n\turl = ext::sh -c "exit 1"\n\tupdate = !' + trap("submodule-update") + "\n"})
        git(folder, "add", "sub", ".gitmodules")
        git(folder, "commit", "--quiet", "-m", "Submodule")
        # A commit that says it is signed is what log.showSignature looks at.
        raw = git(folder, "cat-file", "commit", "HEAD").replace("\n\n", "\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----\n\n", 1)
        signed = git(folder, "hash-object", "-t", "commit", "-w", "--stdin", stdin=raw.encode()).strip()
        git(folder, "update-ref", "refs/heads/main", signed)
        booby_trapped(folder, trap)
        booby_trapped(inner, trap)
        for name in ("a.evil", "a.long", "a.other", "a.txt", "sub/x"):
            os.utime(folder / name, (1, 1))  # git must read again what its index does not vouch for
        shutil.rmtree(folder.parent / "fired")
        (folder.parent / "fired").mkdir()
        return folder

    def test_the_traps_are_real(self, trapped: Path) -> None:
        git(trapped, "status", check=False)
        git(trapped, "log", "-1", check=False)
        git(trapped, "commit", "--allow-empty", "-m", "x", check=False)
        fired = set(os.listdir(trapped.parent / "fired"))
        assert {"clean", "gpg"} <= fired and {n for n in fired if "fsmonitor" in n}, fired

    def test_none_fires(self, trapped: Path) -> None:
        repository = open_local(trapped)
        assert "a.evil" in repository.tree().paths()
        assert repository.dirty(["a.evil", "a.long", "a.other", "a.txt", "sub", "sub/x"]) == ()
        repository.apply([change("a.evil", b"1\n", b"2\n")])
        assert "a.evil" in repository.dirty(["a.evil"])
        sha = repository.commit([change(n, b"1\n", b"2\n") for n in ("a.evil", "a.long", "a.other")], branch=BRANCH, message="M")
        assert shown(trapped, f"{sha}:a.evil") == b"2\n"
        with pytest.raises(ServiceError):
            GitRepository.push(repository, BRANCH, sha)
        assert os.listdir(trapped.parent / "fired") == []

    def test_a_hidden_bare_repository_is_not_entered(self, make_repo: MakeRepo, trap: Callable[[str], str], tmp_path: Path) -> None:
        folder = make_repo({"a": "1"})
        git(folder, "init", "--quiet", "--bare", "inner")
        git(folder / "inner", "config", "core.bare", "false")
        git(folder / "inner", "config", "core.worktree", str(tmp_path))
        git(folder / "inner", "config", "core.fsmonitor", trap("bare"))
        with pytest.raises(UsageError):
            open_local(folder / "inner").tree()
        assert os.listdir(tmp_path / "fired") == []


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with lab_or_skip(tmp_path) as made:
        yield made


FILES: Files = {
    CI: "on: push\njobs: {}\n", "a": "1\n", "run.sh": "x\r\n", "c.bat": "one\ntwo\n",
    ".gitattributes": "*.bat text eol=crlf\na filter=evil\n",
    ".gitmodules": '[submodule "s"]\n\tpath = s\n\turl = ext::sh -c "touch fired"\n',
}  # fmt: skip


class TestServer:
    @pytest.fixture
    def cloned(self, lab: Lab) -> Iterator[Callable[..., Clone]]:
        made: list[Clone] = []

        def make(files: Files = FILES, permissions: dict[str, str] | None = None, kind: str = "app", **settings: object) -> Clone:
            repo = lab.find_repository("octo/demo") or lab.repository("octo/demo", files, **settings)  # type: ignore[arg-type]
            token = lab.token(repo, permissions or {"contents": "write", "workflows": "write"}, kind)
            made.append(clone(lab.server_url, "octo/demo", lab.branches(repo)["main"], token.value))
            return made[-1]

        yield make
        for one in made:
            one.close()

    def test_the_files_are_the_commits_own_bytes(self, cloned: Callable[..., Clone]) -> None:
        tree = cloned().tree()
        assert {path: tree.read(path) for path in tree.paths()} == {p: str(t).encode() for p, t in FILES.items()}

    def test_no_token_is_left_anywhere(self, lab: Lab, cloned: Callable[..., Clone], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        spied = tmp_path / "bin/git"
        real = shutil.which("git")
        write(tmp_path, {"bin/git": f'#!/bin/sh\nprintf "%s\\n" "$@" >> {tmp_path}/argv\nexec {real} "$@"\n'})
        spied.chmod(0o755)
        monkeypatch.setenv("PATH", f"{spied.parent}:{os.environ['PATH']}")
        made = cloned(private=True)
        sha = made.commit([change("a", b"1\n", b"2\n")], branch=BRANCH, message="M")
        made.push(BRANCH, sha)
        (value,) = lab._tokens
        secrets = [value.encode(), base64.b64encode(f"x-access-token:{value}".encode())]
        argv = (tmp_path / "argv").read_bytes()
        assert b"fetch" in argv and b"push" in argv
        files = [p.read_bytes() for p in made.tree().root.rglob("*") if p.is_file()]
        assert len(files) > 20 and not [s for s in secrets for data in [argv, *files] if s in data]

    def test_a_wrong_token_is_refused_without_being_named(self, lab: Lab, cloned: Callable[..., Clone]) -> None:
        made = cloned(private=True)
        wrong = "ghs_" + "a" * 40
        with pytest.raises(AccessDenied, match="contents: read") as refused:
            clone(lab.server_url, "octo/demo", made.head, wrong)
        assert wrong not in str(refused.value)

    @pytest.mark.parametrize("sha", ["4" * 18 + "403" + "a" * 19, "--upload-pack=x", "main", "", "HEAD"])
    def test_a_commit_that_is_not_there_is_no_matter_of_rights(self, lab: Lab, cloned: Callable[..., Clone], sha: str, tmp_path: Path) -> None:
        cloned()
        with pytest.raises(ServiceError) as refused:
            clone(lab.server_url, "octo/demo", sha, "")
        assert not isinstance(refused.value, AccessDenied)

    def test_its_folder_goes_with_it(self, cloned: Callable[..., Clone]) -> None:
        made = cloned()
        root = made.tree().root
        assert root.exists()
        made.close()
        made.close()
        assert not root.exists()

    def test_only_what_was_meant_is_committed_and_pushed(self, lab: Lab, cloned: Callable[..., Clone]) -> None:
        made = cloned()
        assert made.remote_branch(BRANCH) == ""
        sha = made.commit([change("c.bat", b"one\ntwo\n", b"one\n2\n"), change("a", b"1\n", b"2\n")], branch=BRANCH, message="M")
        made.push(BRANCH, sha)
        assert made.remote_branch(BRANCH) == sha
        repo = lab.find_repository("octo/demo")
        assert repo is not None
        assert shown(repo.git, f"{BRANCH}:c.bat") == b"one\n2\n"
        assert git(repo.git, "diff", "--name-only", "main", BRANCH).split() == ["a", "c.bat"]
        made.push(BRANCH, sha)

    def test_a_head_that_moved_is_not_overwritten(self, lab: Lab, cloned: Callable[..., Clone]) -> None:
        made = cloned()
        sha = made.commit([change("a", b"1\n", b"2\n")], branch=BRANCH, message="M")
        repo = lab.find_repository("octo/demo")
        assert repo is not None
        lab.push(repo, {"other": "x"})
        theirs = lab.branches(repo)["main"]
        with pytest.raises(Conflict, match="moved"):
            made.push("main", sha, expect=made.head)
        with pytest.raises(Conflict, match="moved"):
            made.push("main", sha)
        assert lab.branches(repo)["main"] == theirs

    def test_a_branch_that_was_deleted_is_not_brought_back(self, lab: Lab, cloned: Callable[..., Clone]) -> None:
        made = cloned()
        sha = made.commit([change("a", b"1\n", b"2\n")], branch=BRANCH, message="M")
        with pytest.raises(Conflict, match="moved"):
            made.push("feature", sha, expect=made.head)
        assert made.remote_branch("feature") == ""

    def test_a_head_that_stayed_is_pushed_to(self, lab: Lab, cloned: Callable[..., Clone]) -> None:
        made = cloned()
        sha = made.commit([change("a", b"1\n", b"2\n")], branch=BRANCH, message="M")
        made.push("main", sha, expect=made.head)
        assert made.remote_branch("main") == sha

    def refused(self, made: Clone, path: str = "a") -> str:
        before = made.tree().read(path)
        sha = made.commit([change(path, before, b"on: push\njobs: {}\n# x\n")], branch=BRANCH, message="M")
        with pytest.raises(AccessDenied) as told:
            made.push("main", sha)
        return str(told.value)

    def test_the_servers_own_words_are_passed_on(self, cloned: Callable[..., Clone]) -> None:
        told = self.refused(cloned(protected=("main",)))
        assert "GH006" in told and "protected branch hook declined" in told

    def test_all_of_what_a_ruleset_says(self, cloned: Callable[..., Clone]) -> None:
        told = self.refused(cloned(rulesets={"main": [{"type": "pull_request"}]}))
        assert "GH013" in told and "must be made through a pull request" in told

    def test_workflow_files_need_a_permission_of_their_own(self, cloned: Callable[..., Clone]) -> None:
        told = self.refused(cloned(permissions={"contents": "write"}, kind="actions"), CI)
        assert "`workflows` permission" in told and CI in told

    def test_a_token_that_may_only_read(self, cloned: Callable[..., Clone]) -> None:
        assert "contents: write" in self.refused(cloned(permissions={"contents": "read"}))
