"""What a source yields: of each line what became of it, and of what it says the items to be kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.commands import Assert, Command, History, Ref
from latewood.graph_schema.errors import InvalidError, RefusedError
from latewood.graph_schema.ids import IdSource
from latewood.graph_schema.model import LedgerName, NodeKind
from latewood.graph_schema.values import Json, Scalar, Value
from latewood.ingestion.sources.fields import Fields, shorten, text_at
from latewood.ingestion.sources.lines import Fault, FaultClass
from latewood.storage.names import session_key

__all__ = [
    "SAID", "USAGE", "Entry", "Item", "Reject", "Saying", "Speech", "Taken", "call_item", "fault_of", "is_own_tool",
    "malformed",
    "model_call_item", "model_ref", "name_at", "named_ref", "reject_of", "result_item", "run_ref", "session_item",
    "session_ref", "step_ref", "turn_item",
]  # fmt: skip

SAID: Final = "said"
"""The predicate of a turn: subject the session, value its speaker and words."""
USAGE: Final = "usage"
"""The predicate of a model call's token counts. ``input_tokens`` is all that went in, what came from a cache too."""
_ERROR_CHARS_MAX: Final = 500
_NAME_CHARS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Item:
    """What is kept or refused as a whole, under an idempotency key of its own.

    Attributes:
        op: what tells it from every other item of its space, in every run.
        body: what it says; the same *op* with another body is refused, and so shows.
        by: the key of the actor who said or did it.
        origin: the file or place that it was read from.
        model: of the actor, where a model spoke.
    """

    op: str
    body: Json
    commands: tuple[Command, ...]
    by: str
    origin: str
    session: str | None = None
    ledger: LedgerName = "knowledge"
    model: str | None = None
    history: History | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """A line or part that was read: *what* it was in a word or two, *items* what is kept of it (perhaps nothing).

    Attributes:
        end: how far in the file it ends, in bytes, for the progress bar.
        left_out: parts of it that are not kept, by name.
    """

    line: int
    what: str
    items: tuple[Item, ...] = ()
    end: int = 0
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reject:
    """A line or part that was not kept, and why; *kind* is the class that tells what to do about it."""

    path: str
    line: int
    kind: FaultClass
    code: str
    reason: str
    end: int = 0


Entry: TypeAlias = "Taken | Reject"


def fault_of(path: str, fault: Fault) -> Reject:
    """Return the reject of a line that could not be read."""
    return Reject(path, fault.number, fault.kind, fault.code, fault.reason, fault.end)


def reject_of(path: str, line: int, end: int, error: RefusedError) -> Reject:
    """Return the reject of a line that said what cannot be kept."""
    kind: FaultClass = "time" if error.code.startswith("time.") else "refused"
    if error.code == "import.malformed":
        kind = "malformed"
    return Reject(path, line, kind, error.code, error.message, end)


def malformed(what: str) -> InvalidError:
    """Say what a line lacks that its sort must have."""
    return InvalidError(what, code="import.malformed")


def name_at(fields: Fields, name: str) -> str:
    """Return the id or name under *name*. Raises InvalidError (``import.malformed``) when it is none."""
    found = text_at(fields, name)
    if found is None:
        raise malformed(f"it has no {name}")
    if len(found) > _NAME_CHARS_MAX:
        raise malformed(f"its {name} has more than {_NAME_CHARS_MAX} characters")
    return found


@dataclass(frozen=True, slots=True)
class Saying:
    """Makes the assertions of a source; *ids* are fresh each time, the store keeps the first."""

    ids: IdSource

    def fact(
        self, subject: Ref, predicate: str, value: Scalar, at: Micros | None, locator: str | None = None
    ) -> Assert:  # fmt: skip
        """Say that *predicate* of *subject* is *value* from *at* on; None: nobody says since when.

        Raises:
            RefusedError: for a value that cannot be stored.
        """
        said = Value.of(value, where=f"the {predicate}")
        return Assert(self.ids.new(), subject, predicate, said, valid_from=at, known=at is not None, locator=locator)

    def edge(
        self, subject: Ref, predicate: str, target: Ref, at: Micros | None, locator: str | None = None
    ) -> Assert:  # fmt: skip
        """Say that *subject* stands to *target* in the relation *predicate*."""
        return Assert(
            self.ids.new(), subject, predicate, object=target, relation=True, valid_from=at, known=at is not None,
            locator=locator,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Speech:
    """Where a turn, call or result stands: whose it is, in which session, when, and at which place of which file.

    Attributes:
        session: without the ``session:`` in front.
        ops: what idempotency keys begin with, such as ``claude:<session>``.
        place: the turn's own id in the source.
    """

    session: str
    ops: str
    origin: str
    by: str
    speaker: str
    at: Micros | None
    place: str
    model: str | None = None


def session_ref(session: str) -> Ref:
    """Name a session's node."""
    return Ref(key=session_key(session), kind=NodeKind.SESSION, type="session", name=session)


def run_ref(session: str, name: str | None = None) -> Ref:
    """Name the run that a session's steps belong to."""
    return Ref(key=f"run:{session}", kind=NodeKind.RUN, type="run", name=name or session)


def step_ref(session: str, place: str, sort: str = "step", name: str | None = None) -> Ref:
    """Name a step of a session's run."""
    return Ref(key=f"step:{session}/{place}", kind=NodeKind.STEP, type=sort, name=name or place)


def _item(
    of: Speech, what: str, body: Json, commands: Sequence[Command], ledger: LedgerName = "knowledge"
) -> Item:  # fmt: skip
    return Item(f"{of.ops}:{what}", body, tuple(commands), of.by, of.origin, of.session, ledger, of.model)


def turn_item(say: Saying, of: Speech, text: str) -> Item:
    """Keep a turn as one fact of its session. Raises RefusedError for a text that cannot be stored."""
    words: dict[str, object] = {"speaker": of.speaker, "text": text}
    made = say.fact(session_ref(of.session), SAID, words, of.at, of.place)
    return _item(of, f"turn:{of.place}", ["turn", of.speaker, text, of.at], [made])


def session_item(say: Saying, of: Speech, client: str, part_of: str | None = None) -> tuple[Item, Item]:
    """Keep which program a session was held with, which session it is a part of, and that there is a run of it."""
    session = session_ref(of.session)
    said = [say.edge(session, "with_client", named_ref("client", client), of.at, of.place)]
    if part_of is not None:
        said.append(say.edge(session, "part_of", session_ref(part_of), of.at, of.place))
    run = say.edge(run_ref(of.session, f"{client} {of.session}"), "in_session", session, of.at, of.place)
    return (
        _item(of, "session", ["session", client, part_of], said),
        _item(of, "run", ["run"], [run], "execution"),
    )


def named_ref(sort: str, name: str) -> Ref:
    """Name a tool, a program or a provider: what is met again and again is a node, and no memory of its own."""
    short = shorten(name)
    return Ref(key=f"{sort}:{short}", type=sort, name=short)


def model_ref(name: str) -> Ref:
    """Name the actor that a model is."""
    short = shorten(name)
    return Ref(key=f"model:{short}", kind=NodeKind.ACTOR, type="model", name=short)


def call_item(say: Saying, of: Speech, call: str, tool: str, words: str) -> Item:
    """Keep that a tool was called: a step that has begun and of which nothing more is known yet."""
    recalled = is_own_tool(tool)
    step = step_ref(of.session, call, "recall" if recalled else "tool_call", shorten_name(tool, words))
    said = [
        say.edge(run_ref(of.session), "has_step", step, of.at, of.place),
        say.edge(step, "used_tool", named_ref("tool", tool), of.at, of.place),
        say.fact(step, "status", "started", of.at, of.place),
    ]
    return _item(of, f"call:{call}", ["call", tool], said, "execution")


def result_item(say: Saying, of: Speech, call: str, status: str, error: str | None = None) -> Item:
    """Keep how a call ended; what a tool returned is not kept, what it failed with is, in short."""
    step = step_ref(of.session, call, "tool_call")
    said = [say.fact(step, "status", status, of.at, of.place)]
    if error:
        said.append(say.fact(step, "error", error[:_ERROR_CHARS_MAX], of.at, of.place))
    return _item(of, f"result:{call}", ["result", status], said, "execution")


def model_call_item(say: Saying, of: Speech, call: str, usage: dict[str, int], op: str | None = None) -> Item:
    """Keep a model's call as a step with what it used; a count that the source does not give is not in it."""
    step = step_ref(of.session, call, "model_call", f"model call {of.model or ''}".strip())
    said = [
        say.edge(run_ref(of.session), "has_step", step, of.at, of.place),
        say.fact(step, "status", "completed", of.at, of.place),
        say.fact(step, USAGE, dict[str, object](usage), of.at, of.place),
    ]
    if of.model is not None:
        said.append(say.edge(step, "used_model", model_ref(of.model), of.at, of.place))
    return _item(of, f"usage:{op or call}", ["usage", dict[str, Json](usage)], said, "execution")


def is_own_tool(tool: str) -> bool:
    """Tell whether a tool is Latewood's own: what it returned was recalled, and is nothing new."""
    return "latewood" in tool.casefold()


def shorten_name(tool: str, words: str) -> str:
    """Name a step by its tool and the beginning of what it was given."""
    return shorten(f"{tool} {words}".strip())
