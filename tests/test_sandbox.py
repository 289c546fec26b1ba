"""Foreign code in the sandbox: without rights, without secrets, without a way back."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Files

from orchestrator.edges.files import FolderTree
from orchestrator.edges.sandbox import ProcessSandbox
from orchestrator.errors import ServiceError
from orchestrator.model import FileChange
from orchestrator.ports import Command, Environment, Result

MakeTree = Callable[[Files], FolderTree]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop to another account")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")


@pytest.fixture
def sandbox() -> Iterator[ProcessSandbox]:
    made = ProcessSandbox(os.environ)
    yield made
    made.close()


def sh(script: str, **options: object) -> Command:
    return Command(argv=("sh", "-e"), script=script, **options)  # type: ignore[arg-type]


def ran(sandbox: ProcessSandbox, tree: FolderTree, script: str, **options: object) -> Result:
    with sandbox.session(tree) as session:
        return session.run(sh(script, **options))


class TestSecrets:
    def test_no_token_reaches_the_environment(self, monkeypatch: pytest.MonkeyPatch, make_tree: MakeTree) -> None:
        canary = "canary" * 7
        for name in ("GITHUB_TOKEN", "GH_TOKEN", "INPUT_TOKEN", "ACTIONS_RUNTIME_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
                     "ACTIONS_CACHE_URL", "RUNNER_TEMP", "GITHUB_ENV", "GITHUB_OUTPUT", "SSH_AUTH_SOCK", "DOCKER_HOST", "LD_PRELOAD"):  # fmt: skip
            monkeypatch.setenv(name, "" if name == "LD_PRELOAD" else canary)
        monkeypatch.setenv("HTTPS_PROXY", "http://user:" + canary + "@proxy.invalid")
        monkeypatch.setenv("LC_ALL", "C.UTF-8")
        sandbox = ProcessSandbox(os.environ)
        try:
            done = ran(sandbox, make_tree({"a": "x"}), "env")
        finally:
            sandbox.close()
        names = {line.split("=", 1)[0] for line in done.output.splitlines()}
        assert canary not in done.output
        assert not {n for n in names if n.startswith(("GITHUB_", "GH_", "ACTIONS_", "INPUT_", "RUNNER_", "DOCKER_"))}
        assert "LC_ALL=C.UTF-8" in done.output and "npm_config_ignore_scripts=true" in done.output

    def test_home_is_empty_and_its_own(self, sandbox: ProcessSandbox, make_tree: MakeTree) -> None:
        done = ran(sandbox, make_tree({"a": "x"}), 'echo "$HOME"; ls -A "$HOME"; touch "$HOME/x" "$TMPDIR/y"')
        assert done.exit_code == 0
        (home,) = done.output.split()
        assert home != os.environ.get("HOME")

    @as_root
    @on_linux
    def test_the_environment_of_its_parent_is_out_of_reach(self, sandbox: ProcessSandbox, make_tree: MakeTree) -> None:
        done = ran(sandbox, make_tree({"a": "x"}), f"cat /proc/{os.getpid()}/environ")
        assert done.exit_code != 0 and "ermission denied" in done.output


class TestRights:
    @as_root
    def test_it_is_nobody_and_can_not_become_more(self, sandbox: ProcessSandbox, make_tree: MakeTree) -> None:
        done = ran(sandbox, make_tree({"a": "x"}), "id -u; id -G; grep NoNewPrivs /proc/self/status; su -c true 2>/dev/null || echo refused")
        uid, groups, privileges, refused = done.output.strip().splitlines()
        assert uid != "0" and "0" not in groups.split() and len(groups.split()) == 1
        assert privileges.split()[1] == "1" and refused == "refused"

    @as_root
    def test_what_only_root_may_read_stays_unread(self, sandbox: ProcessSandbox, make_tree: MakeTree, tmp_path: Path) -> None:
        with tempfile.NamedTemporaryFile("w", dir="/tmp", prefix="secret-") as secret:
            secret.write("the secret")
            secret.flush()
            os.chmod(secret.name, 0o600)
            done = ran(sandbox, make_tree({"a": "x"}), f"cat {secret.name}")
        assert done.exit_code != 0 and "the secret" not in done.output

    @as_root
    def test_nothing_outside_can_be_written(self, sandbox: ProcessSandbox, make_tree: MakeTree) -> None:
        tree = make_tree({"a": "x"})
        targets = [tree.root / "a", tree.root / "new", Path("/etc/canary"), Path(__file__), Path(sys.executable).parent / "canary"]
        script = "\n".join(f"(echo canary > '{t}') 2>/dev/null && echo written {t} || true" for t in targets)
        assert ran(sandbox, tree, script).output == ""
        assert (tree.root / "a").read_text() == "x" and not (tree.root / "new").exists()

    @as_root
    def test_dockers_socket_refuses_it(self, sandbox: ProcessSandbox, make_tree: MakeTree) -> None:
        with tempfile.TemporaryDirectory(dir="/tmp") as folder:
            os.chmod(folder, 0o755)
            path = f"{folder}/docker.sock"
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(path)
                os.chmod(path, 0o660)
                server.listen()
                script = f"import socket; socket.socket(socket.AF_UNIX).connect({path!r})"
                with sandbox.session(make_tree({"a": "x"})) as session:
                    done = session.run(Command(argv=("python3", "-c", script)))
        assert done.exit_code != 0 and "PermissionError" in done.output

    def test_the_copy_is_writable_and_thrown_away(self, sandbox: ProcessSandbox, make_tree: MakeTree) -> None:
        tree = make_tree({"a": "x", "d/b": "y"})
        with sandbox.session(tree) as session:
            done = session.run(sh("echo z > a; echo new > d/c; pwd"))
            assert done.exit_code == 0
        assert not Path(done.output.strip()).exists()
        assert (tree.root / "a").read_text() == "x"

    @as_root
    def test_no_link_is_followed_where_we_write_next(self, sandbox: ProcessSandbox, make_tree: MakeTree, tmp_path: Path) -> None:
        """A step could guess the name of the next step's script and put a link to a file of root's there."""
        target = tmp_path / "roots-own"
        target.write_text("untouched")
        escape = f"cd ..; ln -s {target} scripts/step-2.sh || (mv scripts old && mkdir scripts && ln -s {target} scripts/step-1.sh)"
        with sandbox.session(make_tree({"a": "x"})) as session:
            session.run(sh(f"({escape}) 2>/dev/null || true"))
            done = session.run(sh("echo second"))
        assert target.read_text() == "untouched"
        assert done.output == "second\n"


class TestLimits:
    def test_a_command_that_does_not_end_is_ended(self, sandbox: ProcessSandbox, make_tree: MakeTree) -> None:
        started = time.monotonic()
        done = ran(sandbox, make_tree({"a": "x"}), "sleep 60", timeout=0.5)
        assert "0 seconds" in done.unavailable or "1 seconds" in done.unavailable
        assert time.monotonic() - started < 10

    @on_linux
    @pytest.mark.parametrize("how", ["", "setsid", "setsid setsid -f"], ids=["same session", "own session", "daemon"])
    @pytest.mark.parametrize("timeout", [0.7, 30.0], ids=["at the time limit", "after the end"])
    def test_nothing_is_left_running(self, sandbox: ProcessSandbox, make_tree: MakeTree, how: str, timeout: float) -> None:
        mark = f"31{time.monotonic_ns() % 10**9}"
        end = "sleep 60" if timeout < 1 else "true"
        ran(sandbox, make_tree({"a": "x"}), f"{how} sleep {mark} >/dev/null 2>&1 &\nsleep 0.2\n{end}", timeout=timeout)
        for _ in range(20):
            alive = [p for p in Path("/proc").glob("[0-9]*/cmdline") if mark.encode() in _read(p)]
            if not alive:
                return
            time.sleep(0.1)
        raise AssertionError(f"still running: {alive}")

    @on_linux
    def test_a_child_of_our_own_is_left_alone(self, sandbox: ProcessSandbox, make_tree: MakeTree) -> None:
        with subprocess.Popen(["sleep", "60"], start_new_session=True) as ours:
            ran(sandbox, make_tree({"a": "x"}), "true")
            assert ours.poll() is None
            ours.kill()

    def test_output_is_bounded_and_its_end_is_kept(self, sandbox: ProcessSandbox, make_tree: MakeTree) -> None:
        done = ran(sandbox, make_tree({"a": "x"}), "head -c 30000000 /dev/zero | tr '\\0' x; echo; echo the end")
        assert done.exit_code == 0 and done.output.endswith("\nthe end\n")
        assert len(done.output) <= 512 * 1024

    def test_a_file_can_not_grow_for_ever(self, sandbox: ProcessSandbox, make_tree: MakeTree) -> None:
        done = ran(sandbox, make_tree({"a": "x"}), "ulimit -f; ulimit -c")
        blocks, core = done.output.split()
        assert blocks.isdigit() and core == "0"

    def test_input_is_empty(self, sandbox: ProcessSandbox, make_tree: MakeTree) -> None:
        assert ran(sandbox, make_tree({"a": "x"}), "cat; echo over").output == "over\n"


class TestSession:
    def test_exit_code_and_output(self, sandbox: ProcessSandbox, make_tree: MakeTree) -> None:
        done = ran(sandbox, make_tree({"a": "x"}), "echo out; echo err >&2; exit 7")
        assert (done.exit_code, done.output, done.unavailable) == (7, "out\nerr\n", "")

    def test_odd_bytes_are_text(self, sandbox: ProcessSandbox, make_tree: MakeTree) -> None:
        assert ran(sandbox, make_tree({"a": "x"}), "printf 'a\\377b'").output == "a\ufffdb"

    def test_a_missing_program_is_said(self, sandbox: ProcessSandbox, make_tree: MakeTree) -> None:
        with sandbox.session(make_tree({"a": "x"})) as session:
            assert "no-such-program" in session.run(Command(argv=("no-such-program",))).unavailable

    @pytest.mark.parametrize("cwd", ["missing", "..", "/", "../../..", "link"])
    def test_a_folder_outside_the_copy_is_refused(self, sandbox: ProcessSandbox, make_tree: MakeTree, cwd: str) -> None:
        with sandbox.session(make_tree({"a": "x"})) as session:
            session.run(sh("ln -s / link"))
            assert "no folder" in session.run(sh("pwd", cwd=cwd)).unavailable

    def test_folder_and_variables_of_the_command(self, sandbox: ProcessSandbox, make_tree: MakeTree) -> None:
        done = ran(sandbox, make_tree({"d/b": "y"}), 'basename "$PWD"; echo "$A"', cwd="d", env={"A": "b c"})
        assert done.output == "d\nb c\n"

    def test_executable_files_stay_executable(self, sandbox: ProcessSandbox, make_tree: MakeTree) -> None:
        tree = make_tree({"run": "#!/bin/sh\necho ran\n"})
        (tree.root / "run").chmod(0o755)
        assert ran(sandbox, tree, "./run").output == "ran\n"

    def test_the_overlay_is_what_the_command_sees(self, sandbox: ProcessSandbox, make_tree: MakeTree) -> None:
        overlay = [
            FileChange(path="a", before=b"x", after=b"changed"), FileChange(path="gone", before=b"y", after=None),
            FileChange(path="new/file", before=None, after=b"added"),
        ]  # fmt: skip
        with sandbox.session(make_tree({"a": "x", "gone": "y"}), overlay) as session:
            assert session.run(sh("cat a new/file; test ! -e gone")).output == "changedadded"

    def test_what_changed_is_told(self, sandbox: ProcessSandbox, make_tree: MakeTree) -> None:
        with sandbox.session(make_tree({"a": "1", "b": "2", "d/c": "3"})) as session:
            session.run(sh("echo 9 > a; rm b; echo x > new.txt; echo y > other.log; mkdir e; echo z > e/deep.txt"))
            found = session.changes(["**/*.txt"])
        assert {(f.path, f.before, f.after) for f in found} == {
            ("a", b"1", b"9\n"), ("b", b"2", None), ("new.txt", None, b"x\n"), ("e/deep.txt", None, b"z\n"),
        }  # fmt: skip

    @pytest.mark.parametrize(
        "trick",
        ["rm a; ln -s {secret} a", "rm a; mkfifo a", "rm -r d; ln -s {folder} d", "rm a; mkdir a", "truncate -s 9M a"],
        ids=["link", "pipe", "linked folder", "folder", "giant"],
    )
    def test_what_is_no_plain_file_any_more_is_not_read(
        self, sandbox: ProcessSandbox, make_tree: MakeTree, tmp_path: Path, trick: str
    ) -> None:
        (tmp_path / "elsewhere").mkdir()
        secret = tmp_path / "elsewhere" / "secret"
        secret.write_text("the secret")
        with sandbox.session(make_tree({"a": "1", "d/secret": "2"})) as session:
            assert session.run(sh(trick.format(secret=secret, folder=secret.parent))).exit_code == 0
            with pytest.raises(ServiceError, match="no plain file"):
                session.changes()

    def test_new_files_behind_links_are_not_read(self, sandbox: ProcessSandbox, make_tree: MakeTree, tmp_path: Path) -> None:
        (tmp_path / "secret.txt").write_text("the secret")
        with sandbox.session(make_tree({"a": "1"})) as session:
            session.run(sh(f"ln -s {tmp_path} d; ln -s {tmp_path}/secret.txt x.txt"))
            for pattern in ("*.txt", "d/*.txt", "**/*.txt"):
                try:
                    assert all(b"the secret" not in (f.after or b"") for f in session.changes([pattern]))
                except ServiceError as refused:
                    assert "no plain file" in str(refused)

    @pytest.mark.timeout(120)
    def test_an_environment_is_made_on_demand(self, sandbox: ProcessSandbox, make_tree: MakeTree) -> None:
        with sandbox.session(make_tree({"a": "x"})) as session:
            command = Command(argv=("python", "-c", "import sys; print(sys.prefix)"), environment=Environment(python="3"))
            done = session.run(command)
        assert done.unavailable == "" and "/environments/0" in done.output

    def test_nothing_is_left_on_disk(self, make_tree: MakeTree) -> None:
        sandbox = ProcessSandbox(os.environ)
        done = ran(sandbox, make_tree({"a": "x"}), 'echo "$HOME"; chmod 500 "$HOME"')
        home = Path(done.output.strip()).parents[1]
        sandbox.close()
        assert not home.exists()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
