"""GitHub's own command line as a client of the lab: a reader of our answers nobody here wrote."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from socket import AF_UNIX

from . import store

HOST = "github.localhost"  # the one host gh speaks plain HTTP to


class _UnixServer(ThreadingHTTPServer):
    address_family = AF_UNIX

    def server_bind(self) -> None:
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "localhost", 0

    def get_request(self):  # type: ignore[no-untyped-def]
        connection, _ = self.socket.accept()
        return connection, ("unix", 0)


class Gh:
    """Runs gh with every request going through a Unix socket to the lab, so it needs no port 80."""

    def __init__(self, handler: type, token: str):
        binary = shutil.which("gh")
        if binary is None:
            raise FileNotFoundError("gh, GitHub's command line, is not installed")
        self._binary, self._token = binary, token
        self._directory = Path(tempfile.mkdtemp(prefix="gh-"))
        socket = self._directory / "s"
        self._server = _UnixServer(str(socket), handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        (self._directory / "config.yml").write_text(f"http_unix_socket: {socket}\nprompt: disabled\n")

    def __call__(self, *arguments: str, repo: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **store.environment(),
            "HOME": str(self._directory),
            "TMPDIR": str(self._directory),  # gh keeps logs in a folder there that one user owns
            "GH_CONFIG_DIR": str(self._directory),
            "GH_HOST": HOST,
            "GH_TOKEN": self._token,
            "GH_NO_UPDATE_NOTIFIER": "1",
            "NO_COLOR": "1",
            "GH_PAGER": "cat",
        }
        return subprocess.run(
            [self._binary, *arguments, "-R", f"{HOST}/{repo}"],
            env=environment,
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self._directory, ignore_errors=True)
