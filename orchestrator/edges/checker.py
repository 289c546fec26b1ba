"""The static checker of workflow files: the packaged actionlint, as a child process."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

_TIMEOUT = 60
_POSITION = re.compile(r"\b(?:line|col(?:umn)?)[ :]+\d+", re.IGNORECASE)


class Actionlint:
    """Findings as messages without positions, so that an edit above does not make them new.

    It runs on text from standard input with no shell or Python checker, so no code of the
    repository runs.
    """

    def __init__(self) -> None:
        beside = Path(sys.executable).with_name("actionlint")
        self._binary = str(beside) if beside.exists() else shutil.which("actionlint")

    def findings(self, path: str, text: str) -> frozenset[str] | None:
        """The checker's messages, or ``None`` when it is not to be had or fails."""
        if self._binary is None:
            return None
        argv = [self._binary, "-shellcheck=", "-pyflakes=", "-no-color", "-format", "{{json .}}", "-stdin-filename", path, "-"]
        try:
            done = subprocess.run(argv, input=text.encode(), capture_output=True, timeout=_TIMEOUT, check=False, cwd="/")
            found = json.loads(done.stdout or b"[]") or []
        except (OSError, subprocess.TimeoutExpired, ValueError):
            return None
        if done.returncode not in (0, 1):
            return None
        return frozenset(f"{one['kind']}: {_POSITION.sub('there', one['message'])}" for one in found)
