"""GitHub's own OpenAPI document, held against every exchange in both directions.

The document comes from the `@octokit/openapi` package, fetched with npm into a cache
directory outside the project when it is first needed. Nothing of it is kept in the project.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs

PACKAGE = "@octokit/openapi"
VERSION = "23.0.2"
DOCUMENT = "package/generated/api.github.com.json"
_BASE = "urn:github"
_FORMAT = 2  # raise it when the shape of the cached extract changes

# Statuses GitHub gives for any operation without documenting them for each one: a bad token,
# a missing permission, something that is not visible, a primary or secondary rate limit.
GENERAL_STATUSES = {401, 403, 404, 429}
# Statuses that are real for one operation and missing in the document.
UNDOCUMENTED = {
    ("get", "/repos/{owner}/{repo}/actions/runs/{run_id}/logs"): {410},
    ("get", "/repos/{owner}/{repo}/actions/runs/{run_id}/attempts/{attempt_number}/logs"): {410},
    ("get", "/repos/{owner}/{repo}/actions/jobs/{job_id}/logs"): {410},
    ("post", "/repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches"): {422},
}


class DocumentUnavailable(RuntimeError):
    """npm could not fetch GitHub's document."""


def cache_directory() -> Path:
    """Where the document is kept between test runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mcp-orchestrator-lab"


def _document() -> dict[str, Any]:
    cache = cache_directory()
    archive = cache / f"octokit-openapi-{VERSION}.tgz"
    if not archive.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise DocumentUnavailable(f"npm is not installed, so {PACKAGE} cannot be fetched")
        cache.mkdir(parents=True, exist_ok=True)
        scratch = cache / f"fetch-{os.getpid()}"
        scratch.mkdir(exist_ok=True)
        try:
            done = subprocess.run(
                [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent"],
                cwd=scratch,
                check=False,
                capture_output=True,
                text=True,
                timeout=180,
            )
            packed = next(iter(scratch.glob("*.tgz")), None)
            if done.returncode or packed is None:
                raise DocumentUnavailable(f"npm pack {PACKAGE}@{VERSION}: {done.stderr.strip()[-400:]}")
            packed.replace(archive)
        except subprocess.TimeoutExpired as error:
            raise DocumentUnavailable(str(error)) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    with tarfile.open(archive) as tar:
        member = tar.extractfile(DOCUMENT)
        assert member is not None
        return json.load(member)


def _convert(node: Any) -> Any:
    """OpenAPI 3.0 schema to JSON Schema: `nullable`, and references by an absolute name."""
    if isinstance(node, list):
        return [_convert(item) for item in node]
    if not isinstance(node, dict):
        return node
    drop = ("nullable", "example", "examples", "description", "title", "deprecated", "discriminator")
    # A property may itself be called "description": only keys of a schema are dropped.
    out = {
        key: {name: _convert(sub) for name, sub in value.items()}
        if key == "properties" and isinstance(value, dict)
        else _convert(value)
        for key, value in node.items()
        if key not in drop and not key.startswith("x-")
    }
    if isinstance(out.get("$ref"), str):
        out["$ref"] = _BASE + out["$ref"]
    return {"anyOf": [out, {"type": "null"}]} if node.get("nullable") is True else out


def _references(node: Any) -> Iterable[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item)


def _extract(document: Mapping[str, Any], templates: Iterable[str], webhooks: Iterable[str]) -> dict[str, Any]:
    """The operations under `templates`, with everything they refer to."""

    def resolve(node: Any) -> Any:
        while isinstance(node, dict) and "$ref" in node:
            target: Any = document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    operations: dict[str, Any] = {}
    for template in templates:
        path = document["paths"].get(template, {})
        for method, operation in path.items():
            if method not in {"get", "post", "put", "patch", "delete"}:
                continue
            parameters = [resolve(item) for item in [*path.get("parameters", ()), *operation.get("parameters", ())]]
            content = resolve(operation.get("requestBody", {})).get("content", {})
            body = content.get("application/json", {}).get("schema")
            responses = {}
            for status, response in operation["responses"].items():
                schema = resolve(response).get("content", {}).get("application/json", {}).get("schema")
                responses[status] = _convert(schema) if schema else None
            operations[f"{method} {template}"] = {
                "query": {p["name"]: _convert(p["schema"]) for p in parameters if p["in"] == "query"},
                "path": {p["name"]: _convert(p["schema"]) for p in parameters if p["in"] == "path"},
                "body": _convert(body) if body else None,
                "body_required": bool(resolve(operation.get("requestBody", {})).get("required")),
                "responses": responses,
            }
    schemas: dict[str, Any] = {}
    wanted = list(_references(operations)) + [f"{_BASE}#/components/schemas/{n}" for n in ("basic-error", *webhooks)]
    while wanted:
        name = wanted.pop().rsplit("/", 1)[1]
        if name not in schemas:
            schemas[name] = _convert(document["components"]["schemas"][name])
            wanted += _references(schemas[name])
    return {"operations": operations, "components": {"schemas": schemas}}


class Contract:
    """Checks exchanges and collects what does not agree with GitHub's document."""

    def __init__(self, templates: Iterable[str], webhooks: Iterable[str] = ("webhook-workflow-run-completed",)):
        wanted, hooks = sorted(set(templates)), sorted(webhooks)
        cached = cache_directory() / f"extract-{VERSION}.json"
        key = [_FORMAT, wanted, hooks]
        stored = json.loads(cached.read_text()) if cached.exists() else {}
        if stored.get("key") != key:
            stored = {"key": key, **_extract(_document(), wanted, hooks)}
            scratch = cached.with_suffix(f".{os.getpid()}")
            scratch.write_text(json.dumps(stored))
            scratch.replace(cached)
        self.violations: list[str] = []
        self._operations: dict[str, Any] = stored["operations"]
        self._registry = jsonschema_rs.Registry([(_BASE, {"components": stored["components"]})])
        self._validators: dict[str, Any] = {}

    def documents(self, method: str, template: str) -> bool:
        """Whether GitHub documents this operation."""
        return f"{method.lower()} {template}" in self._operations

    def _errors(self, name: str, schema: Any, value: Any) -> list[str]:
        validator = self._validators.get(name)
        if validator is None:
            # Formats are off: GitHub's own logins ("name[bot]") make URLs that no RFC 3986 parser takes.
            validator = jsonschema_rs.Draft4Validator(schema, registry=self._registry, validate_formats=False)
            self._validators[name] = validator
        found = []
        for error in validator.iter_errors(value):
            where = "/".join(str(part) for part in error.instance_path)
            found.append(f"{where or '(root)'}: {error.message[:300]}")
            if len(found) == 5:
                break
        return found

    def check(
        self,
        method: str,
        template: str | None,
        path: str,
        *,
        variables: Mapping[str, str] | None = None,
        query: Iterable[tuple[str, str]] = (),
        request: Any = None,
        status: int,
        response: Any = None,
    ) -> list[str]:
        """Hold one exchange against the document; what disagrees is collected and returned."""
        what = f"{method} {path} -> {status}"
        operation = self._operations.get(f"{method.lower()} {template}")
        if template is None or operation is None:
            return self._report(what, ["no such operation in the lab, or none in GitHub's document"])
        found: list[str] = []
        for name, value in (variables or {}).items():
            found += self._parameter(f"path {method} {template} {name}", operation["path"].get(name), value)
        for name, value in query:
            schema = operation["query"].get(name)
            if schema is None:
                found.append(f"query: unknown parameter {name!r}")
            else:
                found += self._parameter(f"query {method} {template} {name}", schema, value)
        accepted = status < 400
        if operation["body"] is None:
            if request not in (None, {}):
                found.append("request body: the operation takes none")
        elif request is not None:
            # A refused request may be wrong on purpose: GitHub's 4xx is the right answer to it.
            if accepted:
                found += [f"request {e}" for e in self._errors(f"{method} {template} body", operation["body"], request)]
        elif operation["body_required"] and accepted:
            found.append("request body: missing")
        found += self._response(method, template, operation, status, response)
        return self._report(what, found)

    def _parameter(self, name: str, schema: Any, value: str) -> list[str]:
        if schema is None:
            return []
        candidates: list[Any] = [value]
        if value.lstrip("-").isdigit():
            candidates.append(int(value))
        if value in {"true", "false"}:
            candidates.append(value == "true")
        errors = [self._errors(name, schema, candidate) for candidate in candidates]
        return [] if any(not e for e in errors) else [f"{name}: {e}" for e in errors[0]]

    def _response(self, method: str, template: str, operation: Any, status: int, response: Any) -> list[str]:
        documented = operation["responses"]
        if str(status) in documented:
            schema = documented[str(status)]
            if schema is None or status in {204, 302, 304}:
                return []
            return [f"response {e}" for e in self._errors(f"{method} {template} {status}", schema, response)]
        special = UNDOCUMENTED.get((method.lower(), template), set())
        if status in GENERAL_STATUSES | special:
            error = {"$ref": f"{_BASE}#/components/schemas/basic-error"}
            return [f"response {e}" for e in self._errors("basic-error", error, response)]
        if status == 304 and method == "GET":
            return []  # any GET with If-None-Match; the document lists it for some only
        return [f"status {status} is not documented ({', '.join(documented)})"]

    def check_webhook(self, name: str, payload: Any) -> list[str]:
        """Hold a webhook payload against the document."""
        schema = {"$ref": f"{_BASE}#/components/schemas/{name}"}
        return self._report(name, self._errors(name, schema, payload))

    def _report(self, what: str, found: list[str]) -> list[str]:
        self.violations += [f"{what}: {item}" for item in found]
        return found
