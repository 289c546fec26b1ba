"""Inputs and configuration: read once, checked, and mistakes named."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from conftest import write

from orchestrator.catalogue import load
from orchestrator.config import SCHEMA, Config
from orchestrator.errors import UsageError
from orchestrator.model import Mode, Severity
from orchestrator.settings import Secret, action_settings, repository_from, server_from
from orchestrator.wiring import config_from_text, rules, task

PROJECT = Path(__file__).resolve().parents[1]
TOKEN = "tu" + "lips" * 3


class TestInputs:
    def test_defaults(self) -> None:
        found = action_settings({})
        assert (found.mode, found.run_id, found.max_attempts, found.max_reruns, found.dry_run) == (None, None, None, None, False)
        assert (found.server.api_url, found.server.url) == ("https://api.github.com", "https://github.com")
        assert (found.report_dir, found.event_path, found.own_workflow) == (Path("."), None, "")

    def test_names_keep_their_hyphens_and_values_lose_their_blanks(self) -> None:
        environ = {
            "INPUT_MODE": " push ", "INPUT_RUN-ID": "7", "INPUT_MAX-ATTEMPTS": "1", "INPUT_MAX-RERUNS": "0", "INPUT_DRY-RUN": "TRUE",
            "INPUT_REPORT-DIR": "out", "INPUT_TOKEN": TOKEN, "GITHUB_WORKSPACE": "/w", "GITHUB_REPOSITORY": "o/r",
            "GITHUB_WORKFLOW_REF": "o/r/.github/workflows/heal.yml@refs/heads/a@b",
        }  # fmt: skip
        found = action_settings(environ)
        assert (found.mode, found.run_id, found.max_attempts, found.max_reruns, found.dry_run) == (Mode.PUSH, 7, 1, 0, True)
        assert (found.report_dir, found.repository) == (Path("/w/out"), "o/r")
        assert found.own_workflow == ".github/workflows/heal.yml"
        assert found.server.token.reveal() == TOKEN

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("MODE", "pull_request", "did you mean 'pull-request'"),
            ("MODE", "apply", "is not one of"),
            ("RUN-ID", "-1", "whole number"),
            ("RUN-ID", "9" * 30, "whole number"),
            ("MAX-RERUNS", "²", "whole number"),
            ("DRY-RUN", "maybe", "neither true nor false"),
            ("REPOSITORY", "a/b/c", "OWNER/NAME"),
        ],
    )
    def test_mistakes_are_named(self, name: str, value: str, said: str) -> None:
        with pytest.raises(UsageError, match=name.lower()) as wrong:
            action_settings({f"INPUT_{name}": value})
        assert said in str(wrong.value) and value in str(wrong.value)

    def test_the_input_comes_before_the_environment(self) -> None:
        assert server_from({"GITHUB_TOKEN": "b", "GH_TOKEN": "c"}, "a").token.reveal() == "a"
        assert server_from({"GITHUB_TOKEN": "b", "GH_TOKEN": "c"}).token.reveal() == "b"
        assert server_from({"GH_TOKEN": "c"}).token.reveal() == "c"

    def test_a_repository_may_come_in_halves(self) -> None:
        assert repository_from({"GITHUB_REPOSITORY_OWNER": "o", "GITHUB_REPOSITORY_NAME": "r"}) == "o/r"
        assert repository_from({"GITHUB_REPOSITORY_OWNER": "o"}) == ""


class TestSecret:
    def test_it_shows_nowhere(self) -> None:
        secret = Secret(TOKEN)
        server = server_from({}, TOKEN)
        shown = [
            repr(secret), str(secret), f"{secret}", f"{secret!r}", f"{secret:>30}", "{}".format(secret), "%s" % secret,  # noqa: UP031, UP032
            repr([secret]), repr(server), str(server), repr(action_settings({"INPUT_TOKEN": TOKEN})),
        ]  # fmt: skip
        assert [text for text in shown if TOKEN in text] == []

    def test_nor_in_a_traceback(self) -> None:
        try:
            raise ValueError(Secret(TOKEN))
        except ValueError as wrong:
            assert TOKEN not in "".join(traceback.TracebackException.from_exception(wrong, capture_locals=True).format())

    def test_it_can_be_revealed(self) -> None:
        secret = Secret(TOKEN)
        assert secret.reveal() == TOKEN and type(secret.reveal()) is str
        assert copy.deepcopy(secret).reveal() == pickle.loads(pickle.dumps(secret)).reveal() == TOKEN
        assert Secret("") == "" and not Secret("")


class TestConfig:
    def test_every_key_of_the_schema_has_its_place(self) -> None:
        told = json.loads(SCHEMA.read_text())["properties"]
        given = {
            "mode": "mode: push", "max-attempts": "max-attempts: 5", "max-reruns": "max-reruns: 0",
            "disable": "disable: [python/ruff-format]", "severity": "severity: {python/ruff-format: low}",
            "rules": "rules: [{id: a/b, title: T, category: code, patterns: [abcd]}]",
        }  # fmt: skip
        assert set(told) == set(given), "a key of the schema that nothing here gives"
        for name, text in given.items():
            field = name.replace("-", "_")
            assert getattr(config_from_text(text), field) != getattr(Config(), field), name
        assert set(Config.__dataclass_fields__) == {name.replace("-", "_") for name in told}

    def test_an_empty_file_is_the_default(self) -> None:
        assert config_from_text("") == config_from_text(" \n") == config_from_text(None) == Config()

    def test_override_takes_what_is_given(self) -> None:
        config = config_from_text("mode: push\nmax-reruns: 5")
        assert config.override(mode=None, max_reruns=0).max_reruns == 0
        assert config.override(mode=None).mode is Mode.PUSH
        assert config.override(mode=Mode.REPORT).mode is Mode.REPORT

    def test_gaps_are_filled_by_defaults(self) -> None:
        assert task(Config(), Path()).mode is Mode.PULL_REQUEST
        assert task(Config(), Path(), local=True).mode is Mode.APPLY
        assert task(Config(max_reruns=0, max_attempts=1), Path()).max_reruns == 0
        assert (task(Config(), Path()).max_attempts, task(Config(), Path()).max_reruns) == (3, 2)

    def test_rules_are_disabled_changed_and_added(self) -> None:
        known = set(load())
        adapted = rules(
            config_from_text(
                "disable: [python/ruff-format]\nseverity: {python/black-format: critical}\n"
                "rules: [{id: acme/down, title: T, category: infrastructure, transient: true, patterns: [abcd]}]"
            )
        )
        assert set(adapted) == known - {"python/ruff-format"} | {"acme/down"}
        assert adapted["python/black-format"].severity == Severity.CRITICAL
        assert adapted["acme/down"].transient

    def test_rules_of_ones_own_work_on_the_command_line(self, tmp_path: Path) -> None:
        rule = "rules:\n- id: acme/licence-server\n  title: The licence server is down\n  category: infrastructure\n  patterns: ['could not check out licence']\n"
        write(tmp_path, {"r/.github/orchestrator.yml": rule})
        stamp = "2026-11-22T10:11:12.1234567Z "
        lines = ["##[group]Run make", "make", "##[endgroup]", "could not check out licence acme", "##[error]Process completed with exit code 2."]
        (tmp_path / "job.log").write_text("".join(f"{stamp}{line}\n" for line in lines))
        command = [sys.executable, "-m", "orchestrator", "diagnose", "job.log", "--format", "json"]
        environ = {**os.environ, "PYTHONPATH": str(PROJECT)}
        alone, with_it = (
            subprocess.run([*command, *more], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
            for more in ([], ["--repo", "r"])
        )
        assert alone.returncode == 3
        assert with_it.returncode == 0, with_it.stderr
        root = json.loads(with_it.stdout)["issues"][0]
        assert (root["issue_type"], root["evidence"][0]["line"]) == ("acme/licence-server", 4)
