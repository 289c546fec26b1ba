"""A package index on loopback that can be out of order for a while, as a real one is at times."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import tarfile
import threading
import zipfile
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


class Registry:
    """Serves wheels (PEP 503) and npm packages that a test puts in."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[str, bytes]] = {}
        self._wheels: dict[str, list[str]] = {}
        self._packuments: dict[str, dict[str, object]] = {}
        self._failures, self._status, self._where, self._lock = 0, 503, "", threading.Lock()
        self.requests: list[tuple[str, int]] = []
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: object) -> None:
                """Requests are recorded, not printed."""

            def do_GET(self) -> None:
                status, kind, data = registry._answer(unquote(self.path.split("?")[0]))
                registry.requests.append((self.path, status))
                if status == 0:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.index_url, self.npm_url = f"{self.url}/simple/", f"{self.url}/npm/"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def fail_next(self, count: int, status: int = 503, path: str = "") -> None:
        """Answer the next requests (whose path has `path` in it) with an error; status 0 hangs up instead."""
        with self._lock:
            self._failures, self._status, self._where = count, status, path

    def _answer(self, path: str) -> tuple[int, str, bytes]:
        with self._lock:
            if self._failures > 0 and self._where in path:
                self._failures -= 1
                return self._status, "text/plain", b"Service Unavailable\n"
        project = re.fullmatch(r"/simple/([^/]+)/?", path)
        if project and (names := self._wheels.get(_normal(project[1]))):
            links = "".join(
                f'<a href="/files/{name}#sha256={hashlib.sha256(self._files[f"/files/{name}"][1]).hexdigest()}">{name}</a>'
                for name in names
            )
            return 200, "text/html", f"<!DOCTYPE html><html><body>{links}</body></html>".encode()
        if path.startswith("/npm/") and (found := self._packuments.get(path.removeprefix("/npm/"))):
            return 200, "application/json", json.dumps(found).encode()
        if path in self._files:
            return 200, *self._files[path]
        return 404, "text/plain", b"Not Found\n"

    def wheel(self, name: str, version: str, files: Mapping[str, str], requires: tuple[str, ...] = ()) -> None:
        """Offer a pure Python package with these modules."""
        stem = f"{_normal(name).replace('-', '_')}-{version}"
        needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
        content = {
            **files,
            f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
            f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: lab\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        buffer, record = io.BytesIO(), ""
        with zipfile.ZipFile(buffer, "w") as archive:
            for path, text in content.items():
                digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
                record += f"{path},sha256={digest},{len(text.encode())}\n"
                archive.writestr(path, text)
            archive.writestr(f"{stem}.dist-info/RECORD", record + f"{stem}.dist-info/RECORD,,\n")
        file = f"{stem}-py3-none-any.whl"
        self._files[f"/files/{file}"] = ("application/zip", buffer.getvalue())
        self._wheels.setdefault(_normal(name), []).append(file)

    def npm(self, name: str, version: str, files: Mapping[str, str]) -> None:
        """Offer an npm package with these files beside its package.json."""
        manifest = {"name": name, "version": version, "main": "index.js"}
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for path, text in {"package.json": json.dumps(manifest), **files}.items():
                entry = tarfile.TarInfo(f"package/{path}")
                entry.size = len(text.encode())
                archive.addfile(entry, io.BytesIO(text.encode()))
        data, file = buffer.getvalue(), f"/files/{name.replace('/', '-')}-{version}.tgz"
        self._files[file] = ("application/octet-stream", data)
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
        found = self._packuments.setdefault(name, {"name": name, "dist-tags": {}, "versions": {}})
        found["dist-tags"]["latest"] = version  # type: ignore[index]
        found["versions"][version] = {  # type: ignore[index]
            **manifest,
            "dist": {"tarball": self.url + file, "integrity": integrity, "shasum": hashlib.sha1(data).hexdigest()},
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
