"""How a command runs: its options become a `Call`, what it returns becomes JSON or words, what it raises a code.

A command is a coroutine that returns what the Python verb returns. With ``--json`` exactly that is printed, by the same
`as_json` that GraphQL is held to; else its *show* puts it into words.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import inspect
import json
import sys
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Concatenate,
    Final,
    Literal,
    ParamSpec,
    TypeAlias,
    TypeVar,
    cast,
    get_type_hints,
)

import typer

from latewood.graph_schema.clock import AsOf, parse_instant
from latewood.graph_schema.errors import InvalidError, LatewoodError, NotFoundError

if TYPE_CHECKING:
    from latewood.clients.cli.screen import Screen
    from latewood.memory import Memory
    from latewood.memory.settings import Settings

__all__ = [
    "COMMANDS",
    "EXIT_CORRUPT",
    "EXIT_INTERNAL",
    "EXIT_NOT_FOUND",
    "EXIT_OK",
    "EXIT_REFUSED",
    "EXIT_UNAVAILABLE",
    "Call",
    "command",
    "error_document",
    "exit_code_of",
    "print_json",
    "tool",
]

P = ParamSpec("P")
R = TypeVar("R")

COMMANDS: Final[Mapping[str, str]] = {
    "channel.unknown": "messages channels",
    "credential.unknown": "keys list",
    "export.empty": "spaces list",
    "generation.unknown": "reindex",
    "message.unknown": "messages list",
    "run.ended": "run show",
    "run.unknown": "runs",
    "space.unknown": "spaces create",
    "webhook.unknown": "webhooks list",
}
"""What an error's way out is called here: messages name verbs, since GraphQL and MCP answer with the same ones."""
EXIT_OK: Final = 0
EXIT_INTERNAL: Final = 1
EXIT_REFUSED: Final = 2
EXIT_NOT_FOUND: Final = 3
EXIT_UNAVAILABLE: Final = 4
EXIT_CORRUPT: Final = 5

Clocks: TypeAlias = Literal["none", "known", "both"]

_SPACES_NAMED: Final = 5
"""Most other spaces that an empty list names."""

_COMMON: Final[Mapping[str, tuple[Any, object]]] = {
    "db": (
        Annotated[
            str | None,
            typer.Option(
                "--db", metavar="FILE|URL", help="The store (env LATEWOOD_DB, else latewood.db).", show_default=False
            ),
        ],
        None,
    ),
    "space": (
        Annotated[
            str | None,
            typer.Option("--space", metavar="NAME", help="The space (env LATEWOOD_SPACE, else default)."),
        ],
        None,
    ),
    "by": (
        Annotated[
            str | None,
            typer.Option("--by", metavar="ACTOR", help="Who writes (env LATEWOOD_ACTOR, else human:<user name>)."),
        ],
        None,
    ),
    "as_json": (
        Annotated[bool, typer.Option("--json", help="Print one JSON document, errors too, and nothing else.")],
        False,
    ),
}
_CLOCKS: Final[Mapping[str, tuple[Any, object]]] = {
    "valid_at": (
        Annotated[
            str | None, typer.Option("--valid-at", metavar="TIME", help="As it was true at this instant or date (now).")
        ],
        None,
    ),
    "known_at": (
        Annotated[
            str | None,
            typer.Option("--known-at", metavar="TIME", help="As it was known at this instant or date (now)."),
        ],
        None,
    ),
}


def exit_code_of(error: LatewoodError) -> int:
    """Return the exit code that an error ends the process with."""
    if isinstance(error, NotFoundError):
        return EXIT_NOT_FOUND
    return {"refused": EXIT_REFUSED, "unavailable": EXIT_UNAVAILABLE, "corrupt": EXIT_CORRUPT}.get(
        error.branch, EXIT_INTERNAL
    )


def error_document(error: LatewoodError) -> dict[str, object]:
    """Write an error as the JSON that ``--json`` prints."""
    from latewood.memory.json import as_json

    return {
        "error": {
            "code": error.code, "message": error.message, "branch": error.branch, "details": as_json(error.details),
        }
    }  # fmt: skip


def print_json(document: object, *, compact: bool = False) -> None:
    """Print one JSON document; with *compact* in one line."""
    narrow = (sys.stdout.encoding or "ascii").lower().replace("-", "") not in ("utf8", "utf16", "utf32")
    text = json.dumps(document, ensure_ascii=narrow, indent=None if compact else 2, allow_nan=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@dataclass
class Call:
    """One run of a command: what was asked for, and the store once it is open."""

    given: Mapping[str, Any]
    at: AsOf
    opened: Memory | None = None

    @property
    def as_json(self) -> bool:
        """Whether JSON is wanted."""
        return bool(self.given["as_json"])

    @cached_property
    def screen(self) -> Screen:
        """Where words go."""
        from latewood.clients.cli.screen import Screen

        return Screen()

    @cached_property
    def settings(self) -> Settings:
        """The environment's settings. Raises InvalidError (``setting.invalid``)."""
        from latewood.memory.settings import Settings

        return Settings.read()

    @property
    def db(self) -> str:
        """The store's address."""
        return self.given["db"] or self.settings.db

    @property
    def space(self) -> str:
        """The space that is read or written."""
        return self.given["space"] or self.settings.space

    @property
    def by(self) -> str:
        """Who writes. Raises InvalidError (``actor.missing``) where the machine's user has no name."""
        named = self.given["by"] or self.settings.actor
        if named:
            return named
        try:
            return f"human:{getpass.getuser()}"
        except (OSError, KeyError, ImportError) as error:
            msg = "this machine's user has no name; say who writes with --by human:you or LATEWOOD_ACTOR"
            raise InvalidError(msg, code="actor.missing") from error

    @property
    def memory(self) -> Memory:
        """The open store."""
        if self.opened is None:
            raise LookupError("the command did not ask for a store")
        return self.opened

    async def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, none: str, after: str | None = None
    ) -> None:
        """Show a list and how it goes on *after* a cursor.

        Where it is empty say *none*, and which other spaces have something to show.
        """
        if rows:
            self.screen.table(columns, rows)
        if after is not None:
            self.screen.note(f"more: --after {after}")
        if rows:
            return
        self.screen.say(none, style="dim")
        if self.opened is not None:
            filled = [
                one.name for one in await self.opened.spaces() if one.name != self.space and any(one.seq.values())
            ]
            if filled:
                more = ", ..." if len(filled) > _SPACES_NAMED else ""
                self.screen.note(f"in space {self.space}; there are also: {', '.join(filled[:_SPACES_NAMED])}{more}")

    @contextlib.contextmanager
    def progress(self, what: str) -> Generator[Callable[[int, int], None] | None]:
        """Show a bar while the block runs, unless JSON is wanted or nobody would see it."""
        if self.as_json:
            yield None
            return
        with self.screen.progress(what) as move:
            yield move


def _must_exist(db: str) -> None:
    """Refuse to read a file that is not there: opening it would make an empty one in its place."""
    from latewood.memory.opening import file_of

    file = file_of(db)
    if file is not None and not file.exists():
        msg = f"there is no database at {db!r}; name one with --db or LATEWOOD_DB (the first write makes one)"
        raise NotFoundError(msg, code="file.unreadable", path=db)


async def _run(
    run: Callable[[Call], Coroutine[Any, Any, R]], call: Call, *, writes: bool, dry_run: bool,
    show: Callable[[Call, R], Awaitable[None]] | None,
) -> R:  # fmt: skip
    from latewood.memory import Memory
    from latewood.memory.opening import file_of

    if not writes:
        _must_exist(call.db)
    by, db = call.by if writes else None, call.db
    if dry_run and (file := file_of(db)) is not None and not file.exists():
        # Opening the file would make it. An empty store gives the answers that it would give.
        db = "reference:"
    async with Memory.open(db, space=call.space, by=by, sync=call.settings.sync) as memory:
        call.opened = memory
        result = await run(call)
        if show is None:
            return result
        if call.as_json:
            from latewood.memory.json import as_json

            print_json(as_json(result))
        else:
            await show(call, result)
        return result


_Body: TypeAlias = Callable[[Call, Mapping[str, Any]], int]


def _report(call: Call, error: LatewoodError) -> None:
    if call.as_json:
        print_json(error_document(error))
        return
    hints: list[str] = []
    if receipt := error.details.get("receipt"):
        hints.append(f"receipt {receipt}: `latewood receipt {receipt}` shows it again")
    if (known := COMMANDS.get(error.code)) is not None:
        hints.append(f"here: `latewood {known}`")
    if error.branch == "corrupt":
        hints.append("stop writing to it, keep a copy, and run `latewood doctor`")
    call.screen.error(error.message, error.code, hints)


def _signature(run: Callable[..., object], clocks: Clocks) -> inspect.Signature:
    parameters = list(inspect.signature(run).parameters.values())[1:]
    # What a command returns is left unread: its type is imported for checkers only, to start quickly.
    written = {one.name: run.__annotations__[one.name] for one in parameters}
    hints = get_type_hints(
        SimpleNamespace(__annotations__=written), globalns=vars(sys.modules[run.__module__]), include_extras=True
    )
    own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[one.name]) for one in parameters]
    names = {"none": (), "known": ("known_at",), "both": ("valid_at", "known_at")}[clocks]
    shared = {**{name: _CLOCKS[name] for name in names}, **_COMMON}
    own += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
        for name, (annotation, default) in shared.items()
    ]
    return inspect.Signature(own)


def _log_to_stderr() -> None:
    """Keep the log out of what a command prints, which may be one JSON document."""
    import structlog

    # Looked up for each line: who runs a command inside another program may exchange the stream.
    structlog.configure(logger_factory=lambda *_: structlog.WriteLogger(sys.stderr))


def _add(group: typer.Typer, name: str | None, run: Callable[..., object], clocks: Clocks, body: _Body) -> None:
    """Make a command of *group* that looks like *run* with the common options, and does *body*."""
    signature = _signature(run, clocks)
    shared = [*_COMMON, *_CLOCKS]

    def invoke(**given: Any) -> None:
        call = Call({one: given.pop(one) for one in shared if one in given}, AsOf())
        _log_to_stderr()
        try:
            call.at = AsOf(*(_instant(call.given.get(one)) for one in _CLOCKS))
            status = body(call, given)
        except LatewoodError as error:
            _report(call, error)
            raise typer.Exit(exit_code_of(error)) from None
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 - the last resort, and it is told
            # A program that reads JSON gets its one document even now; people get the whole traceback.
            traceback.print_exc()
            if call.as_json:
                print_json(error_document(LatewoodError(f"{type(error).__name__}: {error}", code="internal")))
            raise typer.Exit(EXIT_INTERNAL) from None
        if status != EXIT_OK:
            raise typer.Exit(status)

    invoke.__name__, invoke.__doc__ = run.__name__, run.__doc__
    invoke.__annotations__ = {one.name: one.annotation for one in signature.parameters.values()}
    vars(invoke)["__signature__"] = signature
    group.command(name)(invoke)


def command(
    group: typer.Typer, name: str | None = None, *, writes: bool | str = False, clocks: Clocks = "none",
    show: Callable[[Call, R], Awaitable[None]] | None = None, code: Callable[[R], int] | None = None,
) -> Callable[[Callable[Concatenate[Call, P], Coroutine[Any, Any, R]]], None]:  # fmt: skip
    """Make a coroutine over an open store a command of *group*, with the options that every command has.

    Args:
        writes: whether it writes, or the name of the option with which it does; one that only reads is refused where
            no file is.
        clocks: which of ``--valid-at`` and ``--known-at`` it takes.
        show: puts the result into words; None for a command that prints by itself.
        code: the exit code for a result, where that is not always 0.
    """

    def register(run: Callable[Concatenate[Call, P], Coroutine[Any, Any, R]]) -> None:
        anonymous = cast("Callable[..., Coroutine[Any, Any, R]]", run)

        def body(call: Call, given: Mapping[str, Any]) -> int:
            dry_run = given.get("dry_run") is True
            wrote = bool(given[writes]) if isinstance(writes, str) else writes
            result = asyncio.run(
                _run(lambda call: anonymous(call, **given), call, writes=wrote, dry_run=dry_run, show=show)
            )
            return EXIT_OK if code is None else code(result)

        _add(group, name, run, clocks, body)

    return register


def tool(group: typer.Typer) -> Callable[[Callable[Concatenate[Call, P], int]], None]:
    """Make a function a command of *group* that opens what it needs by itself, prints, and returns its exit code."""

    def register(run: Callable[Concatenate[Call, P], int]) -> None:
        anonymous = cast("Callable[..., int]", run)
        _add(group, None, run, "none", lambda call, given: anonymous(call, **given))

    return register


def _instant(words: object) -> Any:
    return None if words is None else parse_instant(str(words))
