"""What others wrote can't act where we show it, and no secret leaves.

The runner's own parsers of commands and command files are ported here (actions/runner,
ActionCommand.cs and FileCommandManager.cs), so that what counts is what the runner would do.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from values import change, issue, planned, run, verdict

from orchestrator import app
from orchestrator.edges import runner
from orchestrator.edges.logfile import LogFile
from orchestrator.model import Evidence, FixResult, Publication, Report, Rung, Verdict, Verification
from orchestrator.ports import Quiet
from orchestrator.publish import commit_message
from orchestrator.redact import redact
from orchestrator.report.json import dumps
from orchestrator.report.markdown import code, fence, inline, pull_request_body, summary
from orchestrator.report.sarif import dumps as sarif
from orchestrator.report.text import show

REGISTERED = (
    "error warning notice debug group endgroup add-mask add-matcher remove-matcher save-state set-output set-env "
    "add-path echo stop-commands internal-set-repo-path"
).split()
OURS = {"error", "warning", "notice", "add-mask"}

HOSTILE = [
    "::set-output name=status::hacked",
    "  ::add-mask::e",
    "\u00a0::error::x",
    "\ufeff::stop-commands::token",
    "2026-11-22T10:11:12.1234567Z ##[error]boom",
    "x ##[add-mask]e",
    "##[set-output name=a]b",
    "##[stop-commands]abcdefgh",
    "a\n::add-matcher::/tmp/x.json\nb",
    "a\r::error::x",
    "a\r\n##[group]x",
    "a\x0b::warning::b",
    "a\u2028::warning::b",
    "a\x85##[warning]b",
    "a%0A::error::x",
    ":::error::x",
    ": :error::x",
    "###[error]x",
    "#\x00#[error]x",
    "##[##[error]x",
    ":\u200b::error::x::",
    "##" + "[error]" * 50,
]


def command(line: str) -> str | None:
    """The command that the runner finds in a line of a step's output."""
    trimmed = line.lstrip("\ufeff" + "".join(chr(c) for c in range(0x3001) if chr(c).isspace()))
    if trimmed.startswith("::"):
        end = trimmed.find("::", 2)
        if end >= 0:
            name = trimmed[2:end].split(" ", 1)[0]
            if name.lower() in REGISTERED:
                return name.lower()
    start = line.find("##[")
    if start >= 0:
        end = line.find("]", start)
        if end >= 0:
            name = line[start + 3 : end].split(" ", 1)[0]
            if name.lower() in REGISTERED:
                return name.lower()
    return None


def commands(output: str) -> list[str]:
    return [found for line in re.split(r"\r\n|\n|\r", output) if (found := command(line))]


class Step:
    """What a step left: standard output, outputs and summary."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.output, self.summary = folder / "output", folder / "summary"
        self.output.touch()
        self._capsys = capsys
        monkeypatch.setenv("GITHUB_OUTPUT", str(self.output))

    def commands(self) -> list[str]:
        return commands(self._capsys.readouterr().out)


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Step:
    return Step(tmp_path, monkeypatch, capsys)


def file_commands(text: str) -> dict[str, str]:
    """The runner's reading of a command file: ``name=value`` and ``name<<END`` … ``END``."""
    found: dict[str, str] = {}
    at = 0

    def line() -> tuple[str, str] | None:
        nonlocal at
        if at >= len(text):
            return None
        end = re.compile(r"\r\n|\n|\r").search(text, at)
        got = (text[at : end.start()], end[0]) if end else (text[at:], "")
        at = end.end() if end else len(text)
        return got

    while (given := line()) is not None:
        current = given[0]
        if not current:
            continue
        equals, heredoc = current.find("="), current.find("<<")
        if equals >= 0 and (heredoc < 0 or equals < heredoc):
            name, value = current.split("=", 1)
            found[name] = value
        elif heredoc >= 0:
            name, end = current.split("<<", 1)
            assert name and end, current
            value, newline = "", ""
            while True:
                following = line()
                assert following is not None, f"Matching delimiter not found {end!r}"
                if following[0] == end:
                    break
                value, newline = value + newline + following[0], following[1]
            found[name] = value
        else:
            raise AssertionError(f"Invalid format {current!r}")
    return found


def words(*parts: str) -> st.SearchStrategy[str]:
    """Texts made of the given parts."""
    return st.lists(st.sampled_from(parts), max_size=40).map("".join)


class TestThePort:
    @pytest.mark.parametrize("text", ["::error::x", " \t::error file=a::x", "a ##[error]x", "##[add-mask]e", "::ERROR::"])
    def test_it_finds_what_the_runner_finds(self, text: str) -> None:
        assert command(text)

    @pytest.mark.parametrize("text", ["a ::error::x", "::nothing::x", "##[nothing]", "::error:", "# #[error]"])
    def test_and_nothing_else(self, text: str) -> None:
        assert command(text) is None

    def test_files(self) -> None:
        assert file_commands("a=b=c\nd<<E\nx\r\ny\nE\n") == {"a": "b=c", "d": "x\r\ny"}


class TestCommands:
    @pytest.mark.parametrize("text", HOSTILE)
    def test_no_text_becomes_a_command(self, step: Step, text: str) -> None:
        runner.stage(text)
        assert step.commands() == []
        for say, name in ((runner.error, "error"), (runner.warning, "warning"), (runner.notice, "notice")):
            say(text)
            assert step.commands() == [name], "one command, ours, and nothing after it"

    @given(words(*":#[] \n\r\t\x0b\x85\u2028\ufeff%0Aerox", "::", "##[", "error", "\u200b"))
    def test_nor_any_other(self, text: str) -> None:
        assert commands(runner.harmless(text)) == []
        assert commands("  " + runner.harmless(text)) == []

    @pytest.mark.parametrize("text", HOSTILE)
    def test_nothing_in_a_whole_report_does(self, step: Step, tmp_path: Path, text: str) -> None:
        report = full_report(text)
        environ = {"GITHUB_STEP_SUMMARY": str(step.summary), "GITHUB_WORKSPACE": str(tmp_path / "w")}
        app._tell(report, app.action_settings(environ), environ)
        assert set(step.commands()) <= OURS
        parsed = file_commands(step.output.read_bytes().decode())
        assert parsed == app.outputs(report, parsed["report-path"])
        assert step.summary.read_text()

    def test_masking_names_the_token_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        runner.mask("a" * 20)
        runner.mask("")
        assert capsys.readouterr().out == f"::add-mask::{'a' * 20}\n"


class TestOutputs:
    @pytest.mark.parametrize(
        "value",
        ["", "plain", "a\nb", "a=b", "a<<b", "EOF", "x\nEOF\nstatus=hacked", "ghadelimiter_x\ny", "a\n\n", "\n", "ünï \u2028", "a\r\nb", " x "],
    )
    def test_values_parse_back_identical(self, step: Step, value: str) -> None:
        given = {"first": "1", "value": value, "last": "2"}
        runner.outputs(given)
        assert file_commands(step.output.read_bytes().decode()) == given

    def test_delimiters_cannot_be_guessed(self, step: Step) -> None:
        runner.outputs({"a": "x"})
        runner.outputs({"b": "x"})
        ends = re.findall(r"<<(.+)", step.output.read_text())
        assert len(set(ends)) == 2 and min(map(len, ends)) >= 20


# --- markdown -----------------------------------------------------------------------------------

MARKUP = words(
    *"`~|<>!-@#\\*_[]()/:.&; \n\r\tax1", "```", "<!--", "-->", "www.", "GH-1", "https://", "<img src=x>", "\u2028"
)


def fenced(markdown: str) -> Iterator[tuple[bool, str]]:
    """Each line with whether it stands in a code block, as CommonMark has it."""
    open_with = ""
    for line in markdown.split("\n"):
        found = re.match(r" {0,3}(`{3,}|~{3,})(.*)", line)
        if found and not open_with and not (found[1][0] == "`" and "`" in found[2]):
            open_with = found[1]
            yield True, line
        elif open_with and found and found[1][0] == open_with[0] and len(found[1]) >= len(open_with) and not found[2].strip():
            open_with = ""
            yield True, line
        else:
            yield bool(open_with), line
    assert not open_with, "a fence that nobody closes"


def outside(markdown: str) -> str:
    return "\n".join(line for inside, line in fenced(markdown) if not inside)


def full_report(text: str, diff: str = "") -> Report:
    one = issue(
        text, job_name=text, step_name=text, fix_description=text, decision_reason=text, advice=text, workflow_name=text,
        evidence=(Evidence(line=3, text=text, source=text, context=(text,)),), file=None,
    )  # fmt: skip
    fix = FixResult(
        issue=one, success=False, error_message=text, title=text, explanation=text, diff=diff or text, files=(text,),
        verification=(Verification(rung=Rung.CHECKED, passed=True, command=text, note=text),),
        publication=Publication(kind="commit", branch=text, path=text, note=text),
    )  # fmt: skip
    return Report(
        runs=(run(head_branch=text, workflow_name=text),), issues=(one, one), fixes=(fix,), notes=(text,),
        publication=Publication(kind="rerun", note=text),
    )  # fmt: skip


def full_verdict(text: str, diff: str = "") -> Verdict:
    made = replace(change("a.txt", "a\n", "b\n", title=text, explanation=text), diff=diff or text)
    bound = replace(planned(title=text, explanation=text), issue=full_report(text).issues[0])
    checks = (Verification(rung=Rung.CHECKED, passed=True, command=text, note=text),)
    files = (replace(made.files[0], path=text or "x"),)
    return verdict(replace(made, planned=bound, files=files), *checks)


def with_evidence(text: str) -> Verdict:
    plain = full_verdict("x")
    proof = replace(plain.change.planned.issue, evidence=(Evidence(line=1, text=text, source="x"),))
    return replace(plain, change=replace(plain.change, planned=replace(plain.change.planned, issue=proof)))


def shown(text: str) -> list[str]:
    return [summary(full_report(text)), pull_request_body(full_verdict(text), run(workflow_name=text))]


EMPTY = [len(re.findall("<!--", one)) for one in shown("x")]


class TestMarkdown:
    @given(MARKUP)
    def test_a_fence_is_never_left(self, text: str) -> None:
        block = fence(text, "diff")
        assert all(inside for inside, _ in fenced(block))

    @given(MARKUP)
    def test_inline_text_is_one_line_of_plain_text(self, text: str) -> None:
        line = inline(text)
        assert len(line.splitlines()) <= 1 and "\n" not in line
        bare = re.sub(r"\\.", "", line)
        assert not re.search(r"[`*_\[\]|<>~#!]", bare), "nothing that means something stands unescaped"
        assert not re.search(r"@\w|#\\?\d|\bGH\\?-\d|\bwww\.|://", line, re.IGNORECASE)

    @given(MARKUP)
    def test_a_code_span_is_never_left(self, text: str) -> None:
        span = code(text)
        ticks = re.match(r"`+", span)
        assert ticks and "\n" not in span
        inner = span[len(ticks[0]) : -len(ticks[0])]
        assert span.endswith(ticks[0]) and ticks[0] not in re.findall(r"`+", inner)

    @given(MARKUP)
    @settings(max_examples=150, deadline=None)
    def test_nothing_acts_in_a_whole_text(self, text: str) -> None:
        for markdown, comments in zip(shown(text), EMPTY, strict=True):
            assert markdown.count("<!--") == comments, "only our own marker is a comment"
            free = re.sub(r"(?<!\\)(`+)(?!`).*?\1", "", outside(markdown))
            assert not re.search(r"(?<!`)@\w", free)
            assert "<img" not in free
            for line in outside(markdown).split("\n"):
                if line.startswith("|"):
                    cells = len(re.findall(r"(?<!\\)\|", line)) - 1
                    assert cells in (2, 4), line

    def test_the_marker_is_ours_alone(self) -> None:
        forged = f"<!-- mcp-orchestrator:fingerprint={'0' * 40} -->"
        for markdown in shown(forged):
            assert forged not in markdown

    @pytest.mark.parametrize(
        "text",
        ["@octo/team", "closes #1", "fixes octo/demo#1", "GH-1", "<img src=x onerror=y>", "![x](https://e.invalid/x.png)",
         "[click](https://e.invalid)", "- [x] done", "https://e.invalid", "www.e.invalid", "<details>", "a | b", "# head"],
    )  # fmt: skip
    def test_what_github_would_make_something_of(self, text: str) -> None:
        assert text not in inline(text)

    def test_plain_words_stay_readable(self) -> None:
        assert inline("A test needs pyyaml, version 6") == "A test needs pyyaml, version 6"

    @pytest.mark.parametrize("text", ["x" * 1_200_000, "```\n" * 300_000, "ü" * 600_000, "+a\n" * 400_000])
    def test_limits_hold_and_the_fences_too(self, text: str) -> None:
        whole = summary(full_report("x", diff=text))
        assert len(whole.encode()) <= 1024 * 1024
        assert list(fenced(whole)) and "JSON report" in outside(whole)
        body = pull_request_body(with_evidence(text[:200_000]), run())
        assert len(body) <= 65_536
        assert "mcp-orchestrator:fingerprint=" in outside(body), "the marker survives the cut"


# --- secrets ------------------------------------------------------------------------------------


def _segment(size: int) -> str:
    return base64.urlsafe_b64encode(bytes((i * 37 + 11) % 256 for i in range(size))).decode().rstrip("=")


def _jwt(size: int = 60) -> str:
    head = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).decode().rstrip("=")
    return ".".join((head, _segment(size), _segment(32)))


def _letters(size: int) -> str:
    return "".join("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"[(i * 31 + 7) % 56] for i in range(size))


def _key() -> str:
    rule, body = "-" * 5, base64.b64encode(bytes(range(256))).decode()
    lines = [body[i : i + 64] for i in range(0, len(body), 64)]
    return "\n".join((f"{rule}BEGIN RSA PRIVATE KEY{rule}", *lines, f"{rule}END RSA PRIVATE KEY{rule}"))


L = _letters(40)
# Each: the text in which it stands, and the part that must not be seen again.
SECRETS = {
    "old token": (f"token {'gh' + 's_'}{L[:36]} used", L[:36]),
    "personal token": (f"{'gh' + 'p_'}{L[:36]}", L[:36]),
    "new token": (f"got {'gh' + 's_'}1234567_{_jwt(280)}.", _segment(280)[:80]),
    "new token's end": (f"got {'gh' + 's_'}1234567_{_jwt(280)} x", _segment(32)),
    "fine-grained": (f"{'github' + '_pat_'}{L[:22]}_{L}", L[:22]),
    "aws id": (f"key {'AK' + 'IA'}{'ABCDEFGHIJKLMNOP'}", "ABCDEFGHIJKLMNOP"),
    "aws secret": (f"AWS_{'SECRET'}_ACCESS_KEY={L}", L),
    "npm": (f"//r/:_authToken={'np' + 'm_'}{L[:36]}", L[:36]),
    "python index": (f"{'py' + 'pi-'}{_segment(60)}", _segment(60)),
    "jwt": (f"cookie {_jwt()}", _segment(60)),
    "private key": (_key(), base64.b64encode(bytes(range(256))).decode()[64:128]),
    "url": (f"fetch https://user:{L}@e.invalid/x.git", L),
    "url with token only": (f"fetch https://{L}@e.invalid/x.git", L),
    "bearer": (f"Authorization: Bearer {L}", L),
    "basic": (f"AUTHORIZATION: basic {base64.b64encode(L.encode()).decode()}", base64.b64encode(L.encode()).decode()),
    "password": (f"DB_{'PASS' + 'WORD'}={L[:12]}", L[:12]),
    "json": (f'{{"api_key": "{L}"}}', L),
}  # fmt: skip

HARMLESS = [
    "E   ModuleNotFoundError: No module named 'yaml'",
    "error: Process completed with exit code 1.",
    "uses: actions/checkout@" + "a1b2c3d4" * 5,
    "sha256:" + "0f" * 32,
    "https://github.com/octo/demo/actions/runs/1",
    "git@github.com:octo/demo.git",
    "token: ${{ secrets.GITHUB_TOKEN }}",
    "npm_config_cache=/x",
    "the token lacks the permission `contents: write`",
    "tests/test_a.py::test_tokens PASSED [ 50%]",
    "mailto:a@example.invalid",
]


@pytest.mark.parametrize("name", SECRETS)
class TestSecrets:
    def test_they_are_gone_from_everything_that_leaves(self, name: str, tmp_path: Path, step: Step) -> None:
        text, secret = SECRETS[name]
        report = full_report(text)
        told = replace(report, runs=(run(head_commit_message=text),))
        terminal = io.StringIO()
        show(told, Console(file=terminal, width=5000, color_system=None))
        with LogFile(tmp_path / "x.log", Quiet()) as log:
            for line in (text, text.replace("\n", " ")):
                log.note(line)
        runner.outputs(app.outputs(told, ""))
        leaving = {
            "json": dumps(told), "sarif": sarif(told), "summary": summary(told), "terminal": terminal.getvalue(),
            "body": pull_request_body(full_verdict(text), run()), "commit": commit_message(full_verdict(text), run()),
            "log": (tmp_path / "x.log").read_text(), "outputs": step.output.read_text(), "command": runner.harmless(text),
        }  # fmt: skip
        # Markdown escapes what it shows; an escaped secret is one all the same.
        assert [where for where, out in leaving.items() if secret in out.replace("\\", "").replace("\u200b", "")] == []

    def test_the_words_around_them_stay(self, name: str) -> None:
        text, _ = SECRETS[name]
        first = text.split(" ")[0]
        if len(text.split(" ")) == 3:
            assert redact(text).startswith(first)

    def test_they_are_gone_however_long_the_text_before_them(self, name: str) -> None:
        text, secret = SECRETS[name]
        for size in (480, 1980):
            long = "x" * size + " " + text
            assert secret[:12] not in dumps(full_report(long))
            assert secret[:12] not in inline(long).replace("\\", "")


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_text_is_left_alone(text: str) -> None:
    assert redact(text) == text


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", ["a-", "a.", "a+", "a_", "token ", "://", "a:", "TOKEN=", "gh", "-----BEGIN ", "x"])
def test_no_text_makes_it_slow(part: str) -> None:
    assert redact(part * 50_000)


def test_a_token_that_is_known_is_gone_whatever_it_looks_like() -> None:
    report = full_report("the word tulips is here")
    assert "tulips" not in dumps(report, known_secrets=("tulips",))
    assert "tulips" in dumps(report, known_secrets=("",))


@given(st.text(max_size=80))
@settings(deadline=None)
def test_no_control_character_reaches_the_terminal(text: str) -> None:
    hostile = f"\x1b]0;title\x07\x1b[2J{text}\x9b31m\u202e\x08[bold]x[/bold]"
    terminal = io.StringIO()
    show(full_report(hostile), Console(file=terminal, width=500, color_system=None))
    written = terminal.getvalue()
    assert not [c for c in written if not c.isprintable() and c not in "\n\t"]
    assert "[bold]x" in written, "markup from a log is text"


def test_the_log_file_holds_one_line_for_each_note(tmp_path: Path) -> None:
    with LogFile(tmp_path / "x.log", Quiet()) as log:
        log.stage("a\nb\x1b[31m\r2026 ERROR forged")
    assert len((tmp_path / "x.log").read_text().splitlines()) == 1
