"""The JSON contract and SARIF: the keys that other programs rely on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from values import NOW, issue, job, run

from orchestrator.model import Evidence, FixResult, Publication, Report, Rung, Verification
from orchestrator.report.json import as_dict, dumps
from orchestrator.report.sarif import dumps as sarif

TOP = "schema_version status monitoring_duration_seconds issues_found fixes_applied runs issues fixes"
RUN = "run_id workflow_name status conclusion created_at updated_at head_branch head_sha jobs"
ISSUE = (
    "run_id workflow_name job_name step_name issue_type error_message severity auto_fixable fix_description fix_script detected_at "
    "status category confidence transient fingerprint evidence file file_line decision decision_reason advice"
)
FIX = "issue success commit_sha error_message applied_at title recipe safety files diff verification publication"


def full(**keys: Any) -> Report:
    one = issue(captures={"x": "internal"}, command="internal", file="a.py", file_line=3, **keys)
    fix = FixResult(
        issue=one, success=True, applied_at=NOW, title="T", recipe="r", files=("a.py",), diff="--- a\n",
        verification=(Verification(rung=Rung.REPLAYED, passed=True, command="make", before=1, after=0),),
        publication=Publication(kind="pull-request", url="https://github.com/octo/demo/pull/1"),
    )  # fmt: skip
    return Report(runs=(run(jobs=(job(),)),), issues=(one, issue()), fixes=(fix,), duration_seconds=1.23456)


def keys(given: dict[str, Any], wanted: str) -> None:
    missing = set(wanted.split()) - given.keys()
    assert not missing, missing


def test_every_key_of_the_contract_is_there() -> None:
    told = json.loads(dumps(full()))
    keys(told, TOP)
    keys(told["runs"][0], RUN)
    keys(told["issues"][0], ISSUE)
    keys(told["issues"][0]["evidence"][0], "line text source")
    keys(told["fixes"][0], FIX)
    assert told["schema_version"] == 1
    assert (told["issues_found"], told["fixes_applied"]) == (2, 1)
    assert told["monitoring_duration_seconds"] == 1.235
    rung = told["fixes"][0]["verification"][0]
    assert (rung["rung"], rung["command"], rung["before"], rung["after"]) == ("replayed", "make", 1, 0)
    assert told["fixes"][0]["applied_at"] == NOW.isoformat()
    assert "internal" not in json.dumps(told)


@pytest.mark.parametrize(
    ("report", "status"),
    [
        (full(), "SUCCESS"),
        (Report(runs=(run(),), issues=()), "FAILURE"),
        (Report(runs=(), issues=()), "SUCCESS"),
        (Report(runs=(run(),), issues=(), skipped="not red"), "SUCCESS"),
    ],
)
def test_status(report: Report, status: str) -> None:
    assert as_dict(report)["status"] == status


def test_secrets_are_gone_and_text_is_bounded_but_diffs_are_whole() -> None:
    secret = "gh" + "s_" + "x1" * 20
    told = full(error_message=f"{secret} " + "m" * 5000, evidence=(Evidence(line=1, text=secret, source=secret),))
    text = dumps(told)
    assert secret not in text
    assert len(json.loads(text)["issues"][0]["error_message"]) == 2000
    long = "+line\n" * 2000
    fix = FixResult(issue=issue(), success=True, diff=long)
    assert json.loads(dumps(Report(runs=(), issues=(), fixes=(fix,))))["fixes"][0]["diff"] == long


def test_text_that_is_no_unicode_is_no_obstacle() -> None:
    assert json.loads(dumps(full(error_message="a\ud800b")).encode())["issues"][0]["error_message"] == "a?b"


def test_sarif_has_what_code_scanning_wants() -> None:
    told = json.loads(sarif(full()))
    assert told["version"] == "2.1.0" and told["$schema"].endswith("sarif-2.1.0.json")
    (one,) = told["runs"]
    driver = one["tool"]["driver"]
    assert driver["name"] and driver["version"]
    known = [rule["id"] for rule in driver["rules"]]
    assert len(known) == len(set(known))
    assert len(one["results"]) == 2
    for result in one["results"]:
        assert result["ruleId"] in known and result["message"]["text"]
        assert result["level"] in {"error", "warning", "note"}
        (place,) = result["locations"]
        place = place["physicalLocation"]
        assert place["artifactLocation"]["uri"] and place["region"]["startLine"] >= 1
    first = one["results"][0]["locations"][0]["physicalLocation"]
    assert (first["artifactLocation"]["uri"], first["region"]["startLine"]) == ("a.py", 3)


def test_an_empty_report_is_valid_sarif() -> None:
    assert json.loads(sarif(Report(runs=(), issues=())))["runs"][0]["results"] == []
