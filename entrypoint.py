"""The container's entry point."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from orchestrator.app import main

if __name__ == "__main__":
    raise SystemExit(main(os.environ))
