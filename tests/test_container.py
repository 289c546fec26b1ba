"""The shipped image, built from the shipped Dockerfile and started as GitHub's runner starts it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Lab, lab_or_skip
from lab.engine import Engine, parse_file_command


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with lab_or_skip(tmp_path / "lab") as one:
        yield one


def ask(engine: Engine, script: str, **options: object) -> str:
    """What a shell script prints in a container of the image."""
    done = engine.shell(script, **options)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.mark.container
class TestImage:
    def test_it_is_what_github_asks_of_a_container_action(self, engine: Engine) -> None:
        shown = engine.docker("image", "inspect", "--format", "{{json .}}", engine.image).stdout
        config = json.loads(shown)["Config"]
        assert config["Entrypoint"] == ["python", "/app/entrypoint.py"]
        assert config["User"] == "" and config["WorkingDir"] in ("", "/")
        assert not config["Cmd"] or config["Cmd"] == ["python3"]  # the base's own
        assert config["Labels"]["org.opencontainers.image.licenses"] == "MIT"
        assert ask(engine, "id -u") == "0"

    def test_it_stays_small(self, engine: Engine) -> None:
        size = int(engine.docker("image", "inspect", "--format", "{{.Size}}", engine.image).stdout)
        assert size < 330_000_000

    def test_it_holds_the_program_and_nothing_to_build_with(self, engine: Engine) -> None:
        assert ask(engine, "ls /app").split() == [
            "LICENSE", "__pycache__", "entrypoint.py", "orchestrator", "requirements.txt",
        ]  # fmt: skip
        assert ask(engine, "find /app -name cases -o -name '*.case' -o -name '*.toml'") == ""
        assert ask(engine, "for tool in gcc cc make node npm curl wget; do command -v $tool || true; done") == ""
        # perl-base is essential in Debian and comes with the base image.
        perl = ask(engine, "dpkg-query -W -f '${db:Status-Status} ${Package}\\n' | grep '^installed .*perl' || true")
        assert perl in ("", "installed perl-base")
        assert ask(engine, "ls /var/lib/apt/lists /root/.cache 2>/dev/null | grep -v : || true") == ""

    def test_what_it_imports_is_its_own_and_compiled(self, engine: Engine) -> None:
        found = ask(
            engine,
            "cd / && python -c 'import importlib.util as u, actions_toolkit.core; print(u.find_spec(\"tests\"))';"
            "find /app/orchestrator -name '*.py' | wc -l; find /app/orchestrator -name '*.cpython-*.pyc' | wc -l;"
            "find /app -name rules.json | wc -l",
        ).split()
        assert found[0] == "None"
        assert found[1] == found[2]
        assert found[3] == "1", "the parsed rules are not in the image"

    def test_the_sandbox_reaches_neither_the_engine_nor_the_environment(self, engine: Engine, tmp_path: Path) -> None:
        script = tmp_path / "probe.py"
        script.write_text(
            "import os, sys\n"
            "from pathlib import Path\n"
            "sys.path.insert(0, '/app')\n"
            "from orchestrator.edges.files import FolderTree\n"
            "from orchestrator.edges.sandbox import ProcessSandbox\n"
            "from orchestrator.ports import Command\n"
            "sandbox = ProcessSandbox(os.environ)\n"
            "with sandbox.session(FolderTree(Path('/app'), ['LICENSE'])) as session:\n"
            "    probe = 'id -u; id -G; env; cat /proc/1/environ; cat /proc/$PPID/environ;'\n"
            "    probe += 'test -w /var/run/docker.sock && echo SOCKET; test -w /app && echo APP; cat LICENSE | wc -l'\n"
            "    print(session.run(Command(argv=('sh', '-c', probe))).output)\n"
        )
        socket = engine.host.removeprefix("unix://")
        mounts = ["-v", f"{socket}:/var/run/docker.sock", "-v", f"{script}:/probe.py:ro"]
        said = ask(engine, "python /probe.py", args=mounts, env={"INPUT_TOKEN": "only-for-the-parent"})
        assert said.splitlines()[:2] == ["10001", "10001"]
        assert "only-for-the-parent" not in said
        assert "SOCKET" not in said and "APP" not in said


@pytest.mark.container
class TestEntrypoint:
    def test_without_an_event_one_line_says_what_is_wrong(self, engine: Engine, tmp_path: Path) -> None:
        done = engine.run_action(tmp_path, {"INPUT_TOKEN": "none", "GITHUB_EVENT_NAME": "workflow_run"}, network="none")
        assert done.exit_code == 1
        said = [line for line in done.stdout.splitlines() if not line.startswith("::add-mask::")]
        assert len(said) == 1 and said[0].startswith("::error::") and "event" in said[0], done.stdout
        assert done.stderr == ""

    def test_it_answers_through_the_runners_files(self, engine: Engine, tmp_path: Path) -> None:
        env = {"INPUT_TOKEN": "none", "INPUT_DRY-RUN": "true", "GITHUB_EVENT_NAME": "push", "GITHUB_REPOSITORY": "octo/demo"}
        done = engine.run_action(tmp_path, env, {"ref": "refs/heads/main"}, network="none")
        assert done.exit_code == 0, done.stdout + done.stderr
        assert done.outputs["status"] == "skipped"
        assert done.summary.startswith("## ")
        assert done.environment == {} and done.home == ()


@pytest.mark.container
def test_git_in_the_image_clones_commits_and_pushes_over_http(engine: Engine, lab: Lab) -> None:
    if not engine.private and engine.shell("true", network="host").returncode:
        pytest.skip("this engine has no host network")
    repository = lab.repository("octo/demo", {"README.md": "one\n"})
    token = lab.token(repository, {"contents": "write", "metadata": "read"})
    url = lab.server_url.replace("://", f"://x-access-token:{token.value}@") + "/octo/demo"
    ask(
        engine,
        'git clone -q "$URL" /tmp/work && cd /tmp/work && echo two >> README.md\n'
        "git -c user.name=t -c user.email=t@localhost commit -qam two && git push -q origin HEAD:refs/heads/new",
        network="host",
        env={"URL": url},
    )
    assert lab.files(repository, "new")["README.md"] == "one\ntwo\n"


class TestFileCommands:
    """The reader of outputs refuses what the runner refuses."""

    def test_values(self) -> None:
        assert parse_file_command("a=1\nb<<E\nx\n\ny=2\nE\nc=d<<e\n") == {"a": "1", "b": "x\n\ny=2", "c": "d<<e"}

    @pytest.mark.parametrize("text", ["a\n", "a<<E\nx\n", "a<<E\nx", "=1\n"])
    def test_refusals(self, text: str) -> None:
        with pytest.raises(ValueError, match="Invalid"):
            parse_file_command(text)
