"""A miniature GitHub on loopback, made of real parts: git, act and GitHub's own OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .contract import DocumentUnavailable
from .world import Lab, LabUnavailable

__all__ = ["DocumentUnavailable", "Lab", "LabUnavailable", "lab_or_skip"]


@contextmanager
def lab_or_skip(directory: Path, **options: Any) -> Iterator[Lab]:
    """A lab for a test; the test is skipped, and -ra says why, where a real part cannot be had."""
    import pytest

    try:
        lab = Lab(directory, **options)
    except (DocumentUnavailable, LabUnavailable) as error:
        pytest.skip(f"the lab is missing a part: {error}")
    with lab:
        yield lab
