"""Write docs/reference from the code: `uv run python docs/generate.py`; with --check only tell what differs."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent / "reference"
HEAD = "<!-- Written by docs/generate.py; do not edit. -->\n\n"


def errors() -> str:
    """List every stable error code."""
    from latewood.graph_schema.errors import CODES

    rows = "".join(f"| `{code}` | {text} |\n" for code, text in sorted(CODES.items()))
    return f"{HEAD}# Error codes\n\nThe same in Python, GraphQL and on the command line.\n\n| code | meaning and way out |\n| --- | --- |\n{rows}"


def settings() -> str:
    """List every setting."""
    from latewood.memory.settings import SETTINGS

    rows = "".join(f"| `{name}` | {text} |\n" for name, text in SETTINGS.items())
    return f"{HEAD}# Settings\n\nRead once from the environment; an unknown `LATEWOOD_` name is an error.\n\n| name | meaning |\n| --- | --- |\n{rows}"


def commands() -> str:
    """List every command with its options."""
    import typer.main

    from latewood.clients.cli import app

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


PAGES = {"errors.md": errors, "settings.md": settings, "cli.md": commands}
ELSEWHERE = {"graphql.md"}
"""Written by docs/graphql_reference.py, from the schema."""


def main() -> int:
    """Write or check every page; return 1 if one differed under --check or could not be written, else 0."""
    check = "--check" in sys.argv
    HERE.mkdir(exist_ok=True)
    failed = False
    for name, write in PAGES.items():
        try:
            text = write()
        except ModuleNotFoundError as missing:
            # The other pages are worth having; this one is never left out in silence.
            print(f"missing: {name}, for {missing.name} is not there")
            failed = True
            continue
        path = HERE / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        print(f"{'stale' if check else 'written'}: {name}")
        if check:
            failed = True
        else:
            path.write_text(text, encoding="utf-8")
    strays = sorted(path.name for path in HERE.iterdir() if path.name not in PAGES.keys() | ELSEWHERE)
    for name in strays:
        print(f"stray: {name} is written by nothing here")
    return int(failed or bool(strays))


if __name__ == "__main__":
    sys.exit(main())
