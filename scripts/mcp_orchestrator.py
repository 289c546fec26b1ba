#!/usr/bin/env python3
"""The command line, from a checkout: the same as `orchestrator` and `python -m orchestrator`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

if __name__ == "__main__":
    from orchestrator.cli import main

    raise SystemExit(main())
