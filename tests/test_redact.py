"""Secrets don't leave. Every one of these is made here, so that none stands in a file."""

from __future__ import annotations

import base64
import json
import random
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.redact import MASK, redact

_ALPHABET = string.ascii_letters + string.digits
_random = random.Random(7)


def made(length: int, alphabet: str = _ALPHABET) -> str:
    return "".join(_random.choice(alphabet) for _ in range(length))


def jwt() -> str:
    parts = [base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "k": made(20)}).encode()).decode().rstrip("=") for _ in range(2)]
    return ".".join([*parts, made(43)])


SECRETS = {
    "classic personal token": "ghp" + "_" + made(36),
    "workflow token": "ghs" + "_" + made(36),
    "long installation token": "ghs" + "_123456_" + jwt() + made(300) + "." + made(80),
    "user token": "ghu" + "_" + made(36),
    "refresh token": "ghr" + "_" + made(76),
    "fine-grained token": "github" + "_pat_" + made(22) + "_" + made(59),
    "npm": "npm" + "_" + made(36),
    "package index": "pypi" + "-" + made(100),
    "chat": "xoxb" + "-" + made(12, string.digits) + "-" + made(24),
    "cloud key id": "AKIA" + made(16, string.ascii_uppercase + string.digits),
    "maps": "AIza" + made(35),
    "payments": "sk" + "_live_" + made(24),
    "models": "sk" + "-" + made(48),
    "forge": "glpat" + "-" + made(20),
    "json web token": jwt(),
    "key": "-----BEGIN RSA " + "PRIVATE KEY-----\n" + "\n".join(made(64) for _ in range(5)) + "\n-----END RSA " + "PRIVATE KEY-----",
}


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize("around", ["{}", "token {} used", "'{}'", "https://x.invalid/?a={}&b", "a={};b", "({})", "\u201c{}\u201d", "x:{}\n", "a_{}", "a-{}"])
def test_every_secret_is_gone_wherever_it_stands(kind: str, around: str) -> None:
    secret = SECRETS[kind]
    shown = redact(around.format(secret))
    assert MASK in shown
    for start in range(0, len(secret) - 12, 6):
        assert secret[start : start + 12] not in shown


@pytest.mark.parametrize(
    "line",
    ["AWS_SECRET_ACCESS_KEY={}", "aws_secret_access_key = {}", "password: {}", "DB_PASSWORD='{}'", '"api_key": "{}"', "api-key={}",
     "NPM_TOKEN={}", "client-secret: {}", "Authorization: Bearer {}", "authorization: basic {}", "https://user:{}@host.invalid/x",
     "https://{}@host.invalid/x", "postgres://app:{}@db:5432/x", "export GITHUB_TOKEN={}", "secretKey: {}", "PRIVATE_KEY={}"],
)  # fmt: skip
def test_a_value_is_known_by_its_name(line: str) -> None:
    value = made(30)
    shown = redact(line.format(value))
    assert value not in shown and MASK in shown
    assert shown.startswith(line.split("{}")[0][:6])


def test_a_line_out_of_the_middle_of_a_key() -> None:
    assert redact(f"  {made(64, _ALPHABET + '+/')}") == MASK


def test_what_is_known_to_be_secret() -> None:
    value = made(10)
    assert redact(f"a{value}b", (value, "")) == f"a{MASK}b"


@pytest.mark.parametrize(
    "line",
    ["ModuleNotFoundError: No module named 'requests'", "commit " + "0a" * 20, "sha256:" + "0b" * 32, "uses: actions/checkout@v4",
     "at https://example.invalid/path?x=1", "secrets: inherit", "permissions:\n  id-token: write", "token: ${{ secrets.TOKEN }}",
     "password: ${DB_PASSWORD}", "git@example.invalid:octo/demo.git", "E   assert 'skip-this-one' == 1", "desk-lamp", "ghs_short",
     "integrity sha512-" + "ab/+" * 22],
)  # fmt: skip
def test_what_is_no_secret_stays(line: str) -> None:
    assert redact(line) == line


@given(st.text(max_size=300))
def test_redacting_never_fails_and_twice_is_once(text: str) -> None:
    once = redact(text)
    assert redact(once) == once or MASK in once


@pytest.mark.parametrize("piece", ["token", "TOKEN_", "secret-", "a:", "https://", "eyJ", "-----BEGIN ", "authorization: ", "ghs", "/", "x://", "a.", "eyJaaaaaaaa-", "sk-a.", "=:", "\n-"])
def test_long_lines_take_linear_time(piece: str) -> None:
    started = time.monotonic()
    redact(piece * (200_000 // len(piece)))
    assert time.monotonic() - started < 2
