"""The git remote: git's own http-backend behind HTTP, with GitHub's answers to a wrong token."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from . import store
from .model import Repository, Token

if TYPE_CHECKING:
    from .world import Lab


def push_policy(repository: Repository, token: Token) -> str:
    """What the hook needs to judge a push of this token."""
    subject, scope = {
        "actions": ("a GitHub App", "`workflows` permission"),
        "app": ("a GitHub App", "`workflows` permission"),
        "pat": ("a Personal Access Token", "`workflow` scope"),
    }[token.kind]
    return json.dumps(
        {
            "workflows": token.kind != "actions" and token.may("workflows", "write"),
            "subject": subject,
            "scope": scope,
            "protected": list(repository.protected),
            "rulesets": repository.rulesets,
        }
    )


class GitHandler(BaseHTTPRequestHandler):
    """One request of git's smart HTTP protocol."""

    lab: Lab
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        """Requests are recorded, not printed."""

    def _refuse(self, status: int, text: str, challenge: bool = False) -> None:
        data = text.encode()
        self.send_response(status)
        if challenge:
            self.send_header("WWW-Authenticate", 'Basic realm="GitHub"')
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _token(self) -> Token | None:
        scheme, _, value = (self.headers.get("Authorization") or "").partition(" ")
        if scheme.lower() == "basic":
            try:
                value = base64.b64decode(value).decode().partition(":")[2]
            except ValueError:
                return None
        return self.lab.find_token(value.strip()) if value else None

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _handle(self) -> None:
        body = self._read()
        url = urlsplit(self.path)
        parts = unquote(url.path).strip("/").split("/")
        repository = self.lab.find_repository("/".join(parts[:2]).removesuffix(".git")) if len(parts) > 2 else None
        service = (
            parts[-1]
            if parts[-1].startswith("git-")
            else dict(pair.split("=", 1) for pair in url.query.split("&") if "=" in pair).get("service", "")
        )
        token = self._token()
        writes = service == "git-receive-pack"
        if token is None and self.headers.get("Authorization"):
            return self._refuse(401, "remote: Invalid username or token.\n", challenge=True)
        if token is None and (writes or repository is None or repository.private):
            return self._refuse(401, "remote: No anonymous write access.\n", challenge=True)
        if repository is None or not self._readable(repository, token):
            return self._refuse(404, "remote: Repository not found.\n")
        if writes and token and not self._writable(repository, token):
            return self._refuse(403, f"remote: Permission to {repository.full_name}.git denied to {token.login}.\n")
        suffix = "/" + "/".join(parts[2:])
        if service == "git-receive-pack" and self.command == "POST":
            assert token is not None
            with repository.lock:
                before = store.refs(repository.git)
                output = self._backend(repository, suffix, url.query, body, token)
                after = store.refs(repository.git)
            self._answer(output)
            for ref in sorted({*before, *after}):
                old, new = before.get(ref, store.ZERO), after.get(ref, store.ZERO)
                if old != new:
                    self.lab.pushed(repository, ref, old, new, token.login, token.kind)
            return None
        return self._answer(self._backend(repository, suffix, url.query, body, token))

    do_GET = do_POST = _handle

    @staticmethod
    def _readable(repository: Repository, token: Token | None) -> bool:
        if token is None or not repository.private:
            return not repository.private
        return token.repository in (None, repository.full_name) and token.may("contents", "read")

    @staticmethod
    def _writable(repository: Repository, token: Token) -> bool:
        return token.repository in (None, repository.full_name) and token.may("contents", "write")

    def _backend(self, repository: Repository, suffix: str, query: str, body: bytes, token: Token | None) -> bytes:
        environment = store.environment(
            {
                "GIT_PROJECT_ROOT": str(repository.git),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": suffix,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "REMOTE_ADDR": "127.0.0.1",
                "REMOTE_USER": token.login if token else "",
                "CONTENT_LENGTH": str(len(body)),
                "CONTENT_TYPE": self.headers.get("Content-Type") or "",
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
                "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
            }
        )
        if token:
            environment["LAB_PUSH_POLICY"] = push_policy(repository, token)
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            env=environment,
            cwd=os.sep,
            check=False,
            capture_output=True,
            timeout=60,
        )
        return done.stdout

    def _answer(self, output: bytes) -> None:
        head, _, body = output.partition(b"\r\n\r\n")
        headers = [line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line]
        status = next((int(value.split()[0]) for name, value in headers if name == "Status"), 200)
        self.send_response(status)
        for name, value in headers:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
