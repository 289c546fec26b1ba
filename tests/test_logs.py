"""Cleaning and scanning of logs: exact line numbers, believable places, bounded memory."""

from __future__ import annotations

import re
import time
import tracemalloc
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from values import STAMP, job, rule

from orchestrator.diagnose.matcher import Matcher
from orchestrator.logs.clean import LINE_LIMIT, chunks, clean, strip_timestamp
from orchestrator.logs.scan import scan
from orchestrator.model import LogScan, Zone

BOM = b"\xef\xbb\xbf"


def matcher(*patterns: str) -> Matcher:
    return Matcher([rule("x/y", *patterns)])


def scanned(log: bytes | str | Iterable[bytes], *patterns: str) -> LogScan:
    if isinstance(log, str):
        log = log.encode()
    return scan([log] if isinstance(log, bytes) else log, matcher(*patterns or ("boom",)), source="job.txt")


def numbers(log: bytes | str | Iterable[bytes], *patterns: str) -> list[int]:
    return [match.evidence.line for match in scanned(log, *patterns).matches]


def stamped(*lines: str) -> str:
    return "".join(f"{STAMP}{line}\n" for line in lines)


class TestLines:
    def test_numbers_are_those_of_the_file(self) -> None:
        assert numbers("a\nb\nboom 1\nc\nboom 2\n", r"boom (?P<n>\d)") == [3, 5]

    def test_the_last_line_needs_no_newline(self) -> None:
        assert numbers("a\nboom") == [2]
        assert scanned("a\nboom").lines == 2

    def test_an_empty_log_has_no_lines(self) -> None:
        found = scanned(b"")
        assert (found.lines, found.matches, found.last_error) == (0, (), None)

    def test_windows_line_endings(self) -> None:
        (match,) = scanned("a\r\nboom\r\nc\r\n", "^boom$").matches
        assert (match.evidence.line, match.evidence.text) == (2, "boom")

    def test_a_progress_bar_is_what_it_ended_as(self) -> None:
        (match,) = scanned("1%\r50%\rboom 100%\n", "^boom").matches
        assert match.evidence.text == "boom 100%"
        assert numbers("boom 1%\r2%\rdone\n", "^boom") == []

    def test_marks_in_the_middle_of_the_log(self) -> None:
        log = BOM + b"one\n" + BOM + STAMP.encode() + b"boom\n"
        (match,) = scanned(log, "^boom$").matches
        assert (match.evidence.line, match.evidence.text) == (2, "boom")

    def test_colours_titles_and_links_are_removed(self) -> None:
        coloured = "\x1b[1;31mbo\x1b[0mom\x1b]0;a title\x07 \x1b]8;;https://example.invalid\x1b\\link\x1b]8;;\x1b\\\n"
        assert scanned(coloured).matches[0].evidence.text == "boom link"

    def test_an_unfinished_escape_sequence_takes_no_other_line_with_it(self) -> None:
        assert numbers("\x1b]0;never ended\nboom\nlast \x1b]also\nboom 2\n", "boom( 2)?$", "boom(?P<n> 2)") == [2, 4]

    def test_a_timestamp_is_removed_once_and_only_in_front(self) -> None:
        assert strip_timestamp(f"{STAMP}{STAMP}x".encode()) == f"{STAMP}x".encode()
        assert strip_timestamp(f"at {STAMP}".encode()) == f"at {STAMP}".encode()
        assert strip_timestamp(STAMP.strip().encode()) == b""

    def test_a_continuation_line_counts_and_matches_without_a_timestamp(self) -> None:
        assert numbers(f"{STAMP}Traceback\n  File x\nboom: y\n{STAMP}boom: z\n", "^boom: (?P<what>.)") == [3, 4]

    def test_a_line_that_is_not_utf8_can_be_matched_across_its_odd_bytes(self) -> None:
        (match,) = scanned(b"caf\xe9 boom caf\xe9 end\n", r"^caf(?P<odd>.) boom .* end$").matches
        assert match.evidence.text == "caf\ufffd boom caf\ufffd end"
        assert match.captures == {"odd": "\ufffd"}

    def test_nul_bytes_do_no_harm(self) -> None:
        assert numbers(b"\0\0\nbo\0om\nboom\0\n") == [3]

    def test_context_is_the_lines_right_above(self) -> None:
        lines = [f"line {n}" for n in range(1, 3000)]
        lines[2000] = "boom"
        for size in (1 << 20, 1000, 777):
            (match,) = scanned(pieces("\n".join(lines).encode(), size)).matches
            assert match.evidence.context == ("line 1998", "line 1999", "line 2000")

    def test_context_never_reaches_over_the_echo(self) -> None:
        log = stamped("far away", "##[group]Run make", "make", "shell: bash", "##[endgroup]", "near", "boom")
        assert scanned(log).matches[0].evidence.context == ("near",)


class TestAnchors:
    """The chunk-wise gate must never be stricter than the line itself."""

    @pytest.mark.parametrize(
        ("pattern", "text"),
        [
            ("^boom", "boom"),
            ("(?i)^boom", "BOOM"),
            ("^(?:bang|boom)$", "boom"),
            ("(^bang|^boom)", "boom"),
            ("^bang|^boom$", "boom"),
            (r"\Aboom\z", "boom"),
            (r"(?:^|\s)boom(?:$|:)", "boom"),
            (r"^[^^$]oom", "boom"),
            (r"^\^boom\$$", "^boom$"),
            (r"^[[:alpha:]$]+$", "boom$"),
            (r"\bboom\b", "boom"),
        ],
    )
    def test_after_whatever_the_runner_puts_in_front(self, pattern: str, text: str) -> None:
        filler = "nothing here\n" * 3
        for line in (text, f"{STAMP}{text}", f"{STAMP}12%\r99%\r{text}", f"{text}\r", f"{text}\r\r\r"):
            assert numbers(f"{filler}{line}\n{filler}", pattern) == [4], line
            assert numbers(f"{filler}{line}", pattern) == [4], line


class TestEcho:
    def test_the_script_and_its_environment_are_never_matched(self) -> None:
        log = stamped(
            "##[group]Run grep boom log", "\x1b[36;1mgrep boom log\x1b[0m", "\x1b[36;1mecho boom\x1b[0m",
            "shell: /usr/bin/bash -e {0}", "env:", "  A: boom", "##[endgroup]", "boom",
        )  # fmt: skip
        assert numbers(log) == [8]
        (step,) = scanned(log).steps[1:]
        assert step.command == "grep boom log\necho boom"
        assert (step.name, step.first_line) == ("Run grep boom log", 1)

    def test_inputs_of_an_action_are_never_matched(self) -> None:
        assert numbers(stamped("##[group]Run a/b@v1", "with:", "  x: boom", "##[endgroup]", "ok")) == []

    def test_a_script_that_begins_with_empty_lines(self) -> None:
        log = stamped("##[group]Run make", "", "make", "boom", "shell: bash", "##[endgroup]")
        assert numbers(log) == []

    def test_a_tools_own_group_is_not_an_echo(self) -> None:
        log = stamped(
            "##[group]Run make", "make", "shell: bash", "##[endgroup]",
            "##[group]Run unit tests", "boom", "##[endgroup]", "##[error]Process completed with exit code 2.",
        )  # fmt: skip
        found = scanned(log)
        assert [m.evidence.line for m in found.matches] == [6]
        assert [(s.name, s.exit_code) for s in found.steps] == [("Set up job", None), ("Run make", 2)]

    def test_a_header_at_the_end_of_a_chunk(self) -> None:
        log = stamped("##[group]Run cat log", "cat log", "echo boom", "shell: bash", "##[endgroup]", "boom")
        assert numbers(line + b"\n" for line in log.encode().splitlines()) == [6]
        for size in range(1, 200, 7):
            assert numbers(pieces(log.encode(), size)) == [6]

    def test_an_endless_forged_echo_is_bounded_in_what_it_keeps(self) -> None:
        found = scanned("##[group]Run x\nx\n" + "y\n" * 5000)
        assert found.lines == 5002
        assert all(len(step.command.splitlines()) <= 200 for step in found.steps)

    def test_forged_steps_are_bounded(self) -> None:
        found = scanned("##[group]Run x\nx\n##[endgroup]\n" * 20_000 + "boom\n")
        assert len(found.steps) <= 10_000
        assert [m.evidence.line for m in found.matches] == [60_001]


class TestZones:
    def test_each_place_has_its_zone(self) -> None:
        log = stamped(
            "boom 1", "##[error]boom 2", "##[group]Run make", "make", "shell: bash", "##[endgroup]",
            "boom 3", "##[error]boom 4", "##[error]Process completed with exit code 3.",
            "Post job cleanup.", "boom 5", "##[error]boom 6",
        )  # fmt: skip
        found = scanned(log, r"boom (?P<n>\d)")
        assert [m.zone for m in found.matches] == [
            Zone.RUNNER, Zone.RUNNER, Zone.OUTPUT, Zone.ERROR, Zone.POST, Zone.POST,
        ]  # fmt: skip
        assert (found.steps[1].failed, found.steps[1].exit_code) == (True, 3)
        assert found.last_error is not None and found.last_error.text == "##[error]boom 4"

    def test_a_forged_set_up_group_does_not_lead_back_to_the_runners_zone(self) -> None:
        log = stamped("##[group]Run make", "make", "##[endgroup]", "##[group]Set up job", "boom", "Complete job name: evil")
        found = scanned(log)
        assert found.matches[0].zone is Zone.OUTPUT
        assert found.job_name == ""

    def test_an_absurd_exit_code_is_no_number(self) -> None:
        found = scanned(f"##[error]Process completed with exit code {'9' * 6000}.\n")
        assert found.steps[0].exit_code is None or found.steps[0].exit_code < 10**10

    def test_a_negative_exit_code_of_windows(self) -> None:
        log = stamped("##[group]Run x", "x", "##[endgroup]", "##[error]Process completed with exit code -1073741819.")
        assert scanned(log).steps[1].exit_code == -1073741819

    def test_the_job_is_kept_with_the_match(self) -> None:
        one = job(5, "test (3.12)")
        found = scan([b"boom\n"], matcher("boom"), source="s", job=one)
        assert found.matches[0].job is one
        assert found.job_name == "test (3.12)"


class TestNoise:
    def test_repeated_lines_are_kept_once_a_step(self) -> None:
        log = stamped(*["boom"] * 1000, "##[group]Run x", "x", "##[endgroup]", *["boom"] * 1000)
        assert numbers(log) == [1, 1004]

    def test_noise_of_one_rule_does_not_hide_the_cause(self) -> None:
        noisy, cause = rule("a/noise", r"warn (?P<n>\d+)"), rule("a/cause", "boom")
        log = "".join(f"warn {n}\n" for n in range(50_000)) + "boom\n"
        found = scan([log.encode()], Matcher([noisy, cause]), source="s")
        assert found.matches[-1].rule_id == "a/cause"
        assert found.matches[-1].evidence.line == 50_001
        assert len(found.matches) < 100


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


class TestBounds:
    @pytest.mark.parametrize("line_breaks", [False, True], ids=["one line", "many lines"])
    def test_memory_is_bounded_for_fifty_megabytes(self, line_breaks: bool) -> None:
        block = (b"x" * 199 + b"\n") * 320 if line_breaks else b"x" * 64_000

        def log() -> Iterator[bytes]:
            for _ in range(50_000_000 // len(block)):
                yield block
            yield b"\nboom\n"

        tracemalloc.start()
        try:
            started = time.monotonic()
            found = scanned(log())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert [m.evidence.line for m in found.matches] == [found.lines]
        assert peak < 4 << 20
        assert time.monotonic() - started < 20

    def test_what_is_kept_of_a_line_does_not_depend_on_how_it_came(self) -> None:
        log = b"y" * (LINE_LIMIT - 4) + b"boom" + b"z" * LINE_LIMIT + b"boom\nboom\n" + b"w" * LINE_LIMIT + b"boom"
        for size in (1000, 16384, 20_000, 65_536, 1 << 20):
            found = scanned(pieces(log, size))
            assert [(m.evidence.line, len(m.evidence.text)) for m in found.matches] == [(1, LINE_LIMIT)]
            assert found.lines == 3

    @pytest.mark.parametrize(
        "evil",
        [b"\x1b]" * 500_000, b"\x1b[" + b"0" * 1_000_000, b"\r" * 1_000_000, BOM * 300_000, b"\x1b[" * 500_000],
        ids=["titles", "parameters", "returns", "marks", "sequences"],
    )
    def test_hostile_lines_take_linear_time(self, evil: bytes) -> None:
        started = time.monotonic()
        assert numbers(evil + b"\nboom\n") == [2]
        assert time.monotonic() - started < 3

    def test_an_exponential_pattern_is_harmless(self) -> None:
        started = time.monotonic()
        assert numbers(("a" * 15_000 + "!\n") * 20, "^(a+)+$") == []
        assert time.monotonic() - started < 3


# --- the property: a scan is what a reader does line by line -----------------------------------

PATTERNS = (r"^boom (?P<n>\d)", r"bo+m$", r"(?:^|\s)E:", r"x.y", r"[^a]oom!")
_FRAGMENTS = st.sampled_from(
    [
        "boom 1", "boom 2", "booom", "E: bad", "x\u00fcy", "boom!", "a", "", " ", "\t", "\r", "\u2028", "\x0c", "\0", "\\",
        "\ufeff", "\x1b[36;1m", "\x1b[0m", "\x1b]0;t\x07", "\x1b]", "\x1b", STAMP, STAMP.strip(), "##[", "##[group]Run boom 1",
        "##[group]Run x", "##[endgroup]", "##[error]", "Process completed with exit code 1.", "with:", "env:", "shell: bash",
        "Post job cleanup.", "z" * 9000,
    ]
)  # fmt: skip
_ODD = st.sampled_from([b"\xff", b"\xc3", b"\xed\xa0\x80"])
_LINE = st.lists(_FRAGMENTS.map(str.encode) | _ODD, max_size=4).map(b"".join)
_LOG = st.tuples(
    st.lists(st.tuples(st.sampled_from([b"", STAMP.encode()]), _LINE).map(b"".join), max_size=30).map(b"\n".join),
    st.sampled_from([b"", b"\n"]),
).map(b"".join)


def naive(log: bytes) -> list[tuple[int, str, Zone]]:
    """The lines that may be matched, one at a time and without any cleverness."""
    lines = log.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    found: list[tuple[int, str, Zone]] = []
    zone, echo, header = Zone.RUNNER, False, None
    for number, raw in enumerate(lines, 1):
        raw = re.sub(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])", b"", raw[:LINE_LIMIT])
        text = raw.replace(BOM, b"").decode("utf-8", "replace")
        text = re.sub(r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,9}Z(?: |(?=\r*\Z))", "", text)
        text = text.rstrip("\r").rsplit("\r", 1)[-1]
        if text.startswith("##[group]Run "):
            header, echo = text.removeprefix("##[group]Run "), False
            continue
        if header is not None:
            if text == "":
                continue
            if text.strip(" \t\n\r\x0b\x0c") == header.strip(" \t\n\r\x0b\x0c") or text.startswith(
                ("with:", "env:", "shell: ", "##[endgroup]")
            ):
                zone, echo = Zone.OUTPUT, True
            header = None
        if echo:
            echo = not text.startswith("##[endgroup]")
            continue
        if text.startswith("Post job cleanup."):
            zone = Zone.POST
        found.append((number, text, Zone.ERROR if zone is Zone.OUTPUT and text.startswith("##[error]") else zone))
    return found


def expected(log: bytes) -> list[tuple[int, int, str]]:
    hits = []
    for number, text, zone in naive(log):
        for index, pattern in enumerate(PATTERNS):
            # Python's $ also matches before a final newline, which no line has here.
            if re.search(pattern.replace(r"\s", r"[\t\n\f\r ]"), text):
                hits.append((number, index, zone.value))
    return hits


@settings(max_examples=400, deadline=None)
@given(log=_LOG, size=st.sampled_from([1, 2, 3, 7, 64, 4096, 1 << 20]))
def test_a_scan_is_what_reading_line_by_line_finds(log: bytes, size: int) -> None:
    rules = [rule(f"x/{index}", pattern) for index, pattern in enumerate(PATTERNS)]
    found = scan(pieces(log, size), Matcher(rules), source="s")
    got = [(m.evidence.line, int(m.rule_id[2:]), m.zone.value) for m in found.matches]
    wanted = expected(log)
    # A scan keeps the first of its kind in a step, so it finds a subset, and the first of each.
    assert set(got) <= set(wanted)
    assert {(index, zone) for _, index, zone in got} == {(index, zone) for _, index, zone in wanted}
    for index, zone in {(i, z) for _, i, z in wanted}:
        assert min(line for line, i, z in got if (i, z) == (index, zone)) == min(
            line for line, i, z in wanted if (i, z) == (index, zone)
        )
    texts = {number: text for number, text, _ in naive(log)}
    for match in found.matches:
        assert match.evidence.text == texts[match.evidence.line]
    assert found.lines == len(log.split(b"\n")) - (log.endswith(b"\n") or log == b"")


@settings(max_examples=200, deadline=None)
@given(log=_LOG, size=st.sampled_from([1, 5, 100, 1 << 20]), block=st.sampled_from([1, 13, 70_000]))
def test_chunks_lose_and_invent_nothing(log: bytes, size: int, block: int) -> None:
    found = list(chunks(pieces(log, block), size))
    lines = log.split(b"\n")
    whole = b"\n".join(line[:LINE_LIMIT] for line in lines)
    assert b"".join(chunk for chunk, _ in found) == whole
    assert sum(count for _, count in found) == len(lines) - (lines[-1] == b"")
    for chunk, count in found[:-1]:
        assert chunk.endswith(b"\n") and chunk.count(b"\n") == count


@given(st.binary(max_size=200))
def test_cleaning_keeps_every_line_break_and_is_valid_text(chunk: bytes) -> None:
    cleaned = clean(chunk)
    assert cleaned.count(b"\n") == chunk.count(b"\n")
    cleaned.decode()
