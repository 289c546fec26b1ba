"""Removes what GitHub's runner and terminals add to a line. Works on bytes, chunk by chunk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

CHUNK = 64 * 1024
LINE_LIMIT = 16 * 1024

TIMESTAMP = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,9}Z(?: |$)"
_TIMESTAMP = re.compile(TIMESTAMP)
# SGR and other CSI sequences, then OSC titles and links, ended by BEL or ST.
_ANSI = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_BOM = b"\xef\xbb\xbf"


def chunks(blocks: Iterable[bytes], size: int = CHUNK) -> Iterator[tuple[bytes, int]]:
    """Regroup ``blocks`` into pieces of whole lines, each with the number of its raw lines.

    A line longer than ``LINE_LIMIT`` is cut there, so memory stays bounded whatever the log. What
    a line holds never depends on how the bytes came.
    """
    rest = b""
    overlong = False
    for block in blocks:
        for start in range(0, len(block), size):
            piece = block[start : start + size]
            if overlong:
                cut = piece.find(b"\n")
                if cut < 0:
                    continue
                piece, overlong = piece[cut:], False
            rest += piece
            cut = rest.rfind(b"\n") + 1
            if cut:
                yield _shortened(rest[:cut]), rest.count(b"\n", 0, cut)
                rest = rest[cut:]
            if len(rest) > LINE_LIMIT:
                rest, overlong = rest[:LINE_LIMIT], True
    if rest:
        yield _shortened(rest), 1


def _shortened(lines: bytes) -> bytes:
    """Whole lines with the overlong ones cut; looks at a few bytes of each 16 KiB only."""
    kept: list[bytes] = []
    start = at = 0
    while len(lines) - at > LINE_LIMIT:
        end = lines.rfind(b"\n", at, at + LINE_LIMIT + 1)
        if end >= 0:
            at = end + 1
            continue
        kept.append(lines[start : at + LINE_LIMIT])
        end = lines.find(b"\n", at)
        start = at = end if end >= 0 else len(lines)
    return b"".join((*kept, lines[start:])) if kept else lines


def clean(chunk: bytes) -> bytes:
    """Remove colours, byte order marks and carriage returns; keep every line break.

    What is not UTF-8 (Windows tools print other code pages) becomes U+FFFD, because no pattern
    would match across it.
    """
    if b"\x1b" in chunk:
        chunk = _ANSI.sub(b"", chunk)
    if _BOM in chunk:
        chunk = chunk.replace(_BOM, b"")
    if b"\r" in chunk:
        chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r\n", b"\n")
    if not chunk.isascii():
        chunk = chunk.decode("utf-8", "replace").encode()
    return chunk


def strip_timestamp(line: bytes) -> bytes:
    """Remove the runner's timestamp; keep what a progress bar left last on the line."""
    found = _TIMESTAMP.match(line)
    if found:
        line = line[found.end() :]
    if b"\r" in line:
        line = line.rstrip(b"\r")
        line = line[line.rfind(b"\r") + 1 :]
    return line
