"""The command line: every verb, and what keeps a store going."""

from latewood.clients.cli.application import app, main

__all__ = ["app", "main"]
