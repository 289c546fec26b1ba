"""From matches to issues: the root cause first, each with the line that proves it."""
