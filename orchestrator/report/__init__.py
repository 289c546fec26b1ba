"""The Report as JSON, Markdown and terminal text. Pure, but for templates read from this package."""
