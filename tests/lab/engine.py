"""A Docker engine for the tests, the shipped image built in it, and the runner's own `docker run`.

`start()` takes an engine that the machine already has, when it can pull the Dockerfile's base.
Otherwise it starts Debian's `dockerd` in a private folder and imports a stand-in base (Debian with
Python 3.13, made by mmdebstrap from the machine's own mirror) under the name the Dockerfile asks
for. Either way the shipped Dockerfile is built as it is.

The folder is `$MCP_ORCHESTRATOR_LAB`, else `mcp-orchestrator-lab` in the user's cache folder. It
keeps the base and the layers, so that a second session is ready in a second or two. Test processes
that run side by side share one engine; the last one to leave stops it.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import hashlib
import io
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
BASE = "python:3.13-slim"
IMAGE = "mcp-orchestrator:lab"
RUNNER_UID = 1001
"""Owner of the workspace on GitHub's hosted runners."""

_BASE_LABEL = "mcp-orchestrator-lab.base"
_SUITE = "trixie"
"""The Debian release whose python3 is the one of `BASE`."""


class Unavailable(Exception):
    """No engine can be had here; the text says why."""


class BuildFailed(Exception):
    """The shipped Dockerfile does not build; the text is the end of the builder's output."""


@dataclass(frozen=True)
class CompletedRun:
    """What one run of the action left behind."""

    exit_code: int
    stdout: str
    stderr: str
    outputs: dict[str, str]
    environment: dict[str, str]
    """What it wrote to GITHUB_ENV."""
    summary: str
    workspace: Path
    home: tuple[str, ...]
    """Names of the files it left in HOME."""
    seconds: float


@dataclass
class Engine:
    """A Docker engine and the client that talks to it."""

    client: str
    host: str
    """Value for DOCKER_HOST."""
    private: bool
    """Started by the lab, with the stand-in base, host networking only."""
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """Environment for every program that has to find this engine (docker, act)."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "BUILDKIT_"))}
        return env | {"DOCKER_HOST": self.host} | ({"DOCKER_BUILDKIT": "0"} if self.private else {})

    def docker(
        self,
        *args: str,
        check: bool = True,
        timeout: float = 600,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run the client; with `check`, a failure raises with what it printed."""
        done = subprocess.run(
            [self.client, *args],
            env={**self.env, **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"docker {' '.join(args)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    @functools.cached_property
    def image(self) -> str:
        """Tag of the shipped image, built from this checkout on first use."""
        began = time.monotonic()
        network = ["--network", "host"] if self.private else []
        done = self.docker("build", *network, "--force-rm", "--tag", IMAGE, str(ROOT), check=False, timeout=900)
        if done.returncode:
            raise BuildFailed((done.stdout + done.stderr)[-6000:])
        if self.private:
            self.docker("image", "prune", "--force", check=False)
        self.timings["image build"] = time.monotonic() - began
        return IMAGE

    def shell(
        self,
        script: str,
        *,
        user: str = "0",
        network: str = "none",
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell script in a container of the shipped image."""
        names = [flag for name in env or {} for flag in ("--env", name)]
        head = ["run", "--rm", "--interactive", "--network", network, "--user", user]
        tail = ["--entrypoint", "sh", self.image, "-eu"]
        return self.docker(*head, *names, *args, *tail, stdin=script, env=env, check=check, timeout=300)

    def run_action(
        self,
        workspace: Path,
        env: Mapping[str, str],
        event: Mapping[str, object] | None = None,
        network: str = "host",
        timeout: float = 300,
    ) -> CompletedRun:
        """Start the image as GitHub's runner does and collect what it left behind.

        `env` holds the step's INPUT_* and GITHUB_* variables; hyphens in names are kept, as the
        runner keeps them. Without `event` there is no event file.
        """
        with tempfile.TemporaryDirectory(prefix="runner-", ignore_cleanup_errors=True) as scratch:
            temp = Path(scratch)
            mounts = {
                temp / "_runner_temp": "/github/runner_temp",
                temp / "_github_home": "/github/home",
                temp / "_github_workflow": "/github/workflow",
                temp / "_runner_file_commands": "/github/file_commands",
                workspace.resolve(): "/github/workspace",
            }
            for folder in mounts:
                folder.mkdir(parents=True, exist_ok=True)
            if event is not None:
                (temp / "_github_workflow/event.json").write_text(json.dumps(event))
            commands = temp / "_runner_file_commands"
            files = {}
            for variable, stem in _FILE_COMMANDS.items():
                files[variable] = commands / f"{stem}_{uuid.uuid4()}"
                files[variable].touch()
            for folder in mounts:
                _give_to_runner(folder)

            variables = {
                "HOME": "/github/home",
                "GITHUB_ACTIONS": "true",
                "CI": "true",
                "GITHUB_WORKSPACE": "/github/workspace",
                "GITHUB_EVENT_PATH": "/github/workflow/event.json",
                "RUNNER_TEMP": "/github/runner_temp",
                "RUNNER_OS": "Linux",
                **{name: f"/github/file_commands/{path.name}" for name, path in files.items()},
                **env,
            }
            name = f"action_{uuid.uuid4().hex[:12]}"
            command = ["run", "--name", name, "--label", "mcp-orchestrator-lab", "--workdir", "/github/workspace"]
            command += ["--rm", *(flag for key in variables for flag in ("-e", key)), "--network", network]
            command += ["-v", f"{self.host.removeprefix('unix://')}:/var/run/docker.sock"]
            command += [flag for path, target in mounts.items() for flag in ("-v", f"{path}:{target}")]
            image = self.image
            began = time.monotonic()
            try:
                done = self.docker(*command, image, check=False, env=variables, timeout=timeout)
            except subprocess.TimeoutExpired:
                self.docker("rm", "--force", name, check=False)
                raise
            seconds = time.monotonic() - began
            home = temp / "_github_home"
            return CompletedRun(
                exit_code=done.returncode,
                stdout=done.stdout,
                stderr=done.stderr,
                outputs=parse_file_command(files["GITHUB_OUTPUT"].read_text()),
                environment=parse_file_command(files["GITHUB_ENV"].read_text()),
                summary=files["GITHUB_STEP_SUMMARY"].read_text(),
                workspace=workspace,
                home=tuple(sorted(str(path.relative_to(home)) for path in home.rglob("*"))),
                seconds=seconds,
            )


_FILE_COMMANDS = {
    "GITHUB_OUTPUT": "set_output",
    "GITHUB_ENV": "set_env",
    "GITHUB_PATH": "add_path",
    "GITHUB_STATE": "save_state",
    "GITHUB_STEP_SUMMARY": "step_summary",
}


def parse_file_command(text: str) -> dict[str, str]:
    """Read `name=value` and `name<<DELIMITER` blocks as the runner does, refusing what it refuses."""
    values: dict[str, str] = {}
    lines = io.StringIO(text, newline="\n")
    for line in lines:
        line = line.rstrip("\r\n")
        if not line:
            continue
        equals, heredoc = line.find("="), line.find("<<")
        if equals >= 0 and (heredoc < 0 or equals < heredoc):
            name, _, value = line.partition("=")
        elif heredoc >= 0:
            name, _, delimiter = line.partition("<<")
            block: list[str] = []
            for inner in lines:
                if inner.rstrip("\r\n") == delimiter:
                    break
                if not inner.endswith("\n"):
                    raise ValueError("Invalid value. EOF marker missing new line.")
                block.append(inner)
            else:
                raise ValueError(f"Invalid value. Matching delimiter not found '{delimiter}'")
            value = "".join(block).removesuffix("\n").removesuffix("\r")
        else:
            raise ValueError(f"Invalid format '{line}'")
        if not name:
            raise ValueError(f"Invalid format '{line}'")
        values[name] = value
    return values


def _give_to_runner(folder: Path) -> None:
    if os.geteuid():
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, RUNNER_UID, RUNNER_UID, follow_symlinks=False)


# --- finding or starting an engine ---------------------------------------------------------------


def start() -> Engine | None:
    """A running engine that has the base image, or None after saying loudly why not."""
    try:
        return obtain()
    except Unavailable as reason:
        print(f"\n{_loud(reason)}\n", file=sys.stderr, flush=True)
        return None


def _loud(reason: Unavailable) -> str:
    return f"*** NO DOCKER ENGINE, so nothing is tested in a container: {reason} ***"


@functools.cache
def obtain() -> Engine:
    """As `start`, but raises `Unavailable`."""
    if platform.system() != "Linux":
        raise Unavailable("container actions run on Linux only")
    client = _client()
    return _given_engine(client) or _own_engine(client)


def engine_fixture() -> Iterator[Engine]:
    """Body of the session fixture `engine`: skips with the reason where no engine can be had."""
    import pytest

    try:
        engine = obtain()
    except Unavailable as reason:
        pytest.skip(_loud(reason))
    yield engine


def _client() -> str:
    for candidate in ("/usr/bin/docker", shutil.which("docker")):
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    raise Unavailable("the docker client is not installed (Debian: docker.io)")


def _given_engine(client: str) -> Engine | None:
    """The machine's own engine, if it is local, answers and has or can pull the base."""
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not host.startswith("unix://") or not Path(host.removeprefix("unix://")).exists():
        return None
    engine = Engine(client, host, private=False)
    try:
        engine.docker("version", timeout=20)
        if engine.docker("image", "inspect", BASE, check=False, timeout=20).returncode:
            engine.docker("pull", "--quiet", BASE, timeout=180)
        # A base that one of our private engines has left behind would need our build options.
        return None if _base_key(engine) else engine
    except (RuntimeError, subprocess.TimeoutExpired):
        return None


def _own_engine(client: str) -> Engine:
    if os.geteuid():
        raise Unavailable("no usable engine is running, and only root can start one")
    missing = [tool for tool in ("dockerd", "mmdebstrap") if not shutil.which(tool)]
    if missing:
        raise Unavailable(f"not installed: {', '.join(missing)} (Debian: docker.io mmdebstrap)")
    lab = _lab_folder()
    _leave_at_exit(lab)
    with _locked(lab / "start.lock"):
        engine = _adopt(client, lab) or _start_daemon(client, lab)
        _provide_base(engine, lab)
    # An engine can be up on a machine that doesn't let it make containers (cgroups, seccomp).
    try:
        engine.docker("run", "--rm", "--network", "host", BASE, "true", timeout=60)
    except (RuntimeError, subprocess.TimeoutExpired) as wrong:
        raise Unavailable(f"the engine starts, but containers don't: {str(wrong).splitlines()[-1][-400:]}") from None
    return engine


def _lab_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    lab = Path(os.environ.get("MCP_ORCHESTRATOR_LAB") or Path(cache) / "mcp-orchestrator-lab").absolute()
    lab.mkdir(mode=0o700, parents=True, exist_ok=True)
    return lab


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _adopt(client: str, lab: Path) -> Engine | None:
    """The daemon that another test process has started in this folder and that still answers."""
    try:
        record = json.loads((lab / "daemon.json").read_text())
    except (OSError, ValueError):
        return None
    engine = Engine(client, record["host"], private=True)
    if _is_our_daemon(record["pid"], lab) and _answers(engine):
        return engine
    return None


def _start_daemon(client: str, lab: Path) -> Engine:
    # Paths of Unix sockets end at 107 bytes, so these don't live in the lab.
    short = Path(tempfile.mkdtemp(prefix="mcpo-"))
    last = ""
    for driver in ("overlay2", "fuse-overlayfs", "vfs"):
        if driver == "fuse-overlayfs" and not shutil.which("fuse-overlayfs"):
            continue
        host = f"unix://{short}/docker.sock"
        log = lab / "dockerd.log"
        began = time.monotonic()
        with log.open("w") as output:
            daemon = subprocess.Popen(
                ["dockerd", "--host", host, "--data-root", str(lab / "data"), "--exec-root", str(short / "exec")]
                + ["--pidfile", str(short / "pid"), "--storage-driver", driver]
                + ["--iptables=false", "--ip6tables=false", "--bridge=none"],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        engine = Engine(client, host, private=True)
        while daemon.poll() is None and time.monotonic() - began < 60:
            if _answers(engine):
                engine.timings["engine start"] = time.monotonic() - began
                record = {"pid": daemon.pid, "host": host, "scratch": str(short)}
                (lab / "daemon.json").write_text(json.dumps(record))
                return engine
            time.sleep(0.1)
        daemon.terminate()
        daemon.wait(30)
        last = " ".join(log.read_text(errors="replace").splitlines()[-2:])
    shutil.rmtree(short, ignore_errors=True)
    raise Unavailable(f"dockerd does not start: {last[-600:]}")


def _answers(engine: Engine) -> bool:
    try:
        return engine.docker("version", check=False, timeout=20).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _is_our_daemon(pid: int, lab: Path) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return command[0].endswith(b"dockerd") and str(lab / "data").encode() in command


_presence: dict[Path, IO[str]] = {}


def _leave_at_exit(lab: Path) -> None:
    """Note that this process uses the lab; whoever leaves last stops the daemon."""
    if lab not in _presence:
        handle = (lab / "users.lock").open("a")
        fcntl.flock(handle, fcntl.LOCK_SH)
        _presence[lab] = handle
        atexit.register(_leave, lab, os.getpid())


def _leave(lab: Path, pid: int) -> None:
    if os.getpid() != pid:
        return
    with _locked(lab / "start.lock"):
        try:
            fcntl.flock(_presence[lab], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        finally:
            _presence.pop(lab).close()
        try:
            record = json.loads((lab / "daemon.json").read_text())
        except (OSError, ValueError):
            return
        if _is_our_daemon(record["pid"], lab):
            _stop(record["pid"])
        (lab / "daemon.json").unlink(missing_ok=True)
        shutil.rmtree(record["scratch"], ignore_errors=True)


def _stop(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)
    for _ in range(300):
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
        except ChildProcessError:
            if not Path(f"/proc/{pid}").exists():
                return
        time.sleep(0.1)


# --- the stand-in base ---------------------------------------------------------------------------


def _base_key(engine: Engine) -> str:
    template = '{{index .Config.Labels "' + _BASE_LABEL + '"}}'
    done = engine.docker("image", "inspect", "--format", template, BASE, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _provide_base(engine: Engine, lab: Path) -> None:
    bundle = Path(os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt")
    certificates = bundle.read_bytes() if bundle.is_file() else b""
    # The recipe and the bundle decide; the mirror that the packages come from does not.
    recipe = repr((_SUITE, _PACKAGES, _HOOKS, _DPKG, _IMPORT)).encode()
    key = hashlib.sha256(recipe + certificates).hexdigest()[:16]
    if _base_key(engine) == key:
        return
    tar = lab / f"base-{key}.tar"
    if not tar.exists():
        began = time.monotonic()
        for outdated in lab.glob("base-*.tar"):
            outdated.unlink()
        _bootstrap(lab, tar, certificates)
        engine.timings["mmdebstrap"] = time.monotonic() - began
    began = time.monotonic()
    changes = [flag for change in (*_IMPORT, f"LABEL {_BASE_LABEL}={key}") for flag in ("--change", change)]
    engine.docker("import", *changes, str(tar), BASE)
    engine.timings["base import"] = time.monotonic() - began


_PACKAGES = ("python3", "python3-pip", "python3-venv", "ca-certificates")
_DPKG = ("path-exclude=/usr/share/man/*", "path-exclude=/usr/share/locale/*", "path-exclude=/usr/share/doc/*")
_HOOKS = (
    # What the official image has and Debian has not: `python` in /usr/local/bin, nothing installed
    # beside a pip that may install, no kept .debs, and a standard library without bytecode.
    'ln -s /usr/bin/python3 "$1/usr/local/bin/python"',
    'ln -s /usr/bin/python3 "$1/usr/local/bin/python3"',
    'rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED',
    'rm -rf "$1"/usr/lib/python3/dist-packages/packaging*',
    (
        "printf 'DPkg::Post-Invoke { \"rm -f /var/cache/apt/archives/*.deb || true\"; };\\n'"
        ' > "$1/etc/apt/apt.conf.d/docker-clean"'
    ),
    'find "$1/usr/lib" -name __pycache__ -type d -prune -exec rm -rf {} +',
)
_IMPORT = (
    "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
    "ENV LANG=C.UTF-8",
    # Behind a proxy with a certificate of its own, pip and uv must trust this machine's bundle.
    "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt",
    "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
    'CMD ["python3"]',
)


def _bootstrap(lab: Path, tar: Path, certificates: bytes) -> None:
    """Make the stand-in's root file system with mmdebstrap."""
    with tempfile.TemporaryDirectory(prefix="base-", dir=lab) as scratch:
        part = Path(scratch, "base.tar")
        hooks = list(_HOOKS)
        if certificates:
            Path(scratch, "bundle.crt").write_bytes(certificates)
            hooks.append(f'cp "{scratch}/bundle.crt" "$1/etc/ssl/certs/ca-certificates.crt"')
        apt = Path(scratch, "apt.conf")
        apt.write_text(_apt_transport())
        command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", f"--aptopt={apt}"]
        command += [f"--dpkgopt={option}" for option in _DPKG]
        command += [f"--customize-hook={hook}" for hook in hooks]
        try:
            done = subprocess.run(
                [*command, _SUITE, str(part), _mirror_line()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=400,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Unavailable("mmdebstrap did not finish in 400 s") from None
        if done.returncode:
            errors = [line for line in done.stdout.splitlines() if line.startswith(("E:", "Err:"))]
            raise Unavailable(f"mmdebstrap failed: {'; '.join(errors)[-600:] or done.stdout[-600:]}")
        part.replace(tar)


def _mirror_line() -> str:
    """The apt source line of the stand-in's suite at the mirror this machine itself uses."""
    release = platform.freedesktop_os_release()
    wanted = release.get("VERSION_CODENAME", "")
    if release.get("ID") != "debian" or not shutil.which("apt-get"):
        raise Unavailable("the stand-in for the base image is built from a Debian machine's mirror")
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)|$(RELEASE)|$(COMPONENT)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    for line in targets.stdout.splitlines():
        uri, suite, component = line.split("|")
        if suite == wanted and component == "main":
            keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
            option = f"[signed-by={keyring}] " if keyring.exists() else ""
            return f"deb {option}{uri} {_SUITE} main"
    raise Unavailable(f"apt has no source with {wanted} main to take a mirror from")


def _apt_transport() -> str:
    """This machine's proxy and retry settings of apt."""
    dump = ["apt-config", "dump", "--no-empty", "Acquire::http", "Acquire::https", "Acquire::Retries"]
    return subprocess.run(dump, capture_output=True, text=True, check=False).stdout


if __name__ == "__main__":
    # A look at the lab by hand: start it, build, show the times.
    _engine = start()
    if _engine is None:
        sys.exit(1)
    print(json.dumps({"image": _engine.image, "host": _engine.host, "private": _engine.private, **_engine.timings}, indent=2))
