"""The menu of the day."""

import yaml


def dishes(text: str) -> list[str]:
    """The dishes of a menu written in YAML, in the order of the file."""
    return [f"{name}: {price:.2f}" for name, price in yaml.safe_load(text).items()]
