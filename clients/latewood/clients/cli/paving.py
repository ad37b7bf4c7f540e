"""Paved paths: a workflow begun from a template, and what left its path."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latewood.clients.cli.call import EXIT_OK, EXIT_REFUSED, Call, print_json, tool
from latewood.clients.cli.groups import app, new
from latewood.graph_schema.errors import ConflictError, UnavailableError

if TYPE_CHECKING:
    from latewood.execution.paving import Linted

__all__: list[str] = []


@tool(new)
def run_type(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What its runs are called, such as lane-plan.")],
    *,
    path: Annotated[str, typer.Option("--path", metavar="PATH", help="The paved path that it is on.")] = "standard",
    owner: Annotated[
        str | None, typer.Option("--owner", metavar="ACTOR", help="Who answers for its runs (who calls this).")
    ] = None,
    folder: Annotated[str, typer.Option("--folder", metavar="FOLDER", help="Where the file goes.")] = ".",
) -> int:
    """Write a workflow that has an owner, a deadline, a policy and schemas; fill its steps in.

    Paths: `standard`, `clinical-report`. `latewood lint` says what has left its path.

    Example: `latewood new run-type lane-plan --path standard --owner human:ada`
    """
    from latewood.execution.paving import run_type as made

    file_name, text = made(name, path=path, owner=owner or call.by)
    file = Path(folder) / file_name
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise ConflictError(f"{file} is there already; name another run type", code="file.exists") from None
    except OSError as error:
        msg = f"{file} cannot be written: {error.strerror}; name another --folder"
        raise UnavailableError(msg, code="file.unreadable") from error
    if call.as_json:
        print_json({"file": str(file), "name": name, "path": path})
        return EXIT_OK
    module = file.stem
    call.screen.say(f"{file}", style="bold")
    call.screen.note(f"check it with `latewood lint {module}`, run it with `latewood worker {module}`")
    return EXIT_OK


@tool(app)
def lint(
    call: Call,
    modules: Annotated[list[str], typer.Argument(metavar="MODULE...", help="Where the workflows are.")],
) -> int:
    """Say which rules of its paved path each workflow leaves, and which are on no path.

    Ends with 2 when a workflow leaves the path that it names. To be on no path is allowed, and counted.

    Example: `latewood lint lane_plan`
    """
    from latewood.execution.loading import marked_in
    from latewood.execution.paving import lint as held

    found = [one for module in modules for one in held(*marked_in(module))]
    left = sum(bool(one.findings) for one in found)
    off = sum(one.path is None for one in found)
    if call.as_json:
        from latewood.memory.json import as_json

        print_json({"workflows": as_json(found), "left_path": left, "off_path": off})
    else:
        _show(call, found)
        flows = "1 workflow" if len(found) == 1 else f"{len(found)} workflows"
        call.screen.note(f"{flows}: {left} left the path, {off} on no path")
    return EXIT_REFUSED if left else EXIT_OK


def _show(call: Call, found: list[Linted]) -> None:
    rows = [
        (one.workflow, one.version, one.path or "none", finding.rule, finding.message)
        for one in found
        for finding in one.findings
    ]
    rows += [(one.workflow, one.version, one.path or "none", "", "") for one in found if not one.findings]
    call.screen.table(("workflow", "version", "path", "rule", "what is wrong"), rows)
