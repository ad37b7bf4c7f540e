"""Write docs/reference from the code: `uv run python docs/generate.py`; with --check only tell what differs."""

from __future__ import annotations

import sys
from pathlib import Path

import typer.main

from latewood.clients.cli import app
from latewood.graph_schema.errors import CODES
from latewood.memory.settings import SETTINGS
from latewood.server.graphql.schema import schema

HERE = Path(__file__).parent / "reference"
HEAD = "<!-- Written by docs/generate.py; do not edit. -->\n\n"


def errors() -> str:
    """List every stable error code."""
    rows = "".join(f"| `{code}` | {text} |\n" for code, text in sorted(CODES.items()))
    return f"{HEAD}# Error codes\n\nThe same in Python, GraphQL and on the command line.\n\n| code | meaning and way out |\n| --- | --- |\n{rows}"


def settings() -> str:
    """List every setting."""
    rows = "".join(f"| `{name}` | {text} |\n" for name, text in SETTINGS.items())
    return f"{HEAD}# Settings\n\nRead once from the environment; an unknown `LATEWOOD_` name is an error.\n\n| name | meaning |\n| --- | --- |\n{rows}"


def commands() -> str:
    """List every command with its options."""
    parts = [f"{HEAD}# Command line\n"]

    def walk(command: object, path: str) -> None:
        children = getattr(command, "commands", None)
        if children:
            for name, child in sorted(children.items()):
                walk(child, f"{path} {name}")
            return
        text = (getattr(command, "help", None) or "").split("\f")[0].strip()
        parts.append(f"\n## `{path}`\n\n{text}\n")
        rows = ""
        for parameter in getattr(command, "params", []):
            names = ", ".join(f"`{name}`" for name in parameter.opts) or f"`{parameter.name}`"
            about = (getattr(parameter, "help", None) or "").replace("|", "\\|").replace("\n", " ")
            rows += f"| {names} | {about} |\n"
        if rows:
            parts.append(f"\n| option | meaning |\n| --- | --- |\n{rows}")

    walk(typer.main.get_command(app), "latewood")
    return "".join(parts)


def graphql() -> str:
    """Show the GraphQL schema."""
    return f"{HEAD}# GraphQL schema\n\nServed at `/graphql`.\n\n```graphql\n{schema.as_str().strip()}\n```\n"


PAGES = {"errors.md": errors, "settings.md": settings, "cli.md": commands, "graphql.md": graphql}


def main() -> int:
    """Write or check every page; return how many differed."""
    HERE.mkdir(exist_ok=True)
    stale = 0
    for name, write in PAGES.items():
        path, text = HERE / name, write()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale += 1
            print(f"{'stale' if '--check' in sys.argv else 'written'}: {path.name}")
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    return stale if "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
