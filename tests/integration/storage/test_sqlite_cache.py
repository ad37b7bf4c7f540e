"""What the writer remembers between groups: enough to ask little, and no words that it does not need."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from latewood.graph_schema.commands import ActorSpec, Assert, Command, Declare, Ref, Unit
from latewood.graph_schema.events import Receipt
from latewood.graph_schema.ids import RandomIds
from latewood.graph_schema.model import NodeKind, Trust
from latewood.graph_schema.values import Value
from latewood.storage.sqlite.database import Rows, Statements
from latewood.storage.sqlite.engine import Engine
from latewood.storage.sqlite.store import SqliteStore

_IDS = RandomIds()
_LONG = "a hundred thousand characters. " * 3_300


def _unit(*commands: Command) -> Unit:
    return Unit(_IDS.new(), "default", ActorSpec("agent:a"), Trust.AGENT, b"", commands, ledger="execution")


def _step(run: str, place: int) -> list[Command]:
    step, attempt = _IDS.new(), _IDS.new()
    return [
        Declare(step, NodeKind.STEP, "step", f"step:{run}/{place}", "more", {"place": str(place), "output": _LONG}),
        Assert(_IDS.new(), Ref(id=run), "has_step", object=Ref(id=step), relation=True),
        Declare(attempt, NodeKind.ATTEMPT, "completed", None, "more, try 1", {"number": 1, "words": _LONG}),
        Assert(_IDS.new(), Ref(id=step), "has_attempt", object=Ref(id=attempt), relation=True),
    ]


def _engine(store: SqliteStore) -> Engine:
    return store._engine  # type: ignore[attr-defined]


async def _commit(store: SqliteStore, *units: Unit) -> None:
    for answer in await store.commit(units):
        assert isinstance(answer, Receipt), answer


async def test_what_steps_and_runs_hold_is_not_remembered(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "latewood.db")
    run = _IDS.new()
    await _commit(store, _unit(Declare(run, NodeKind.RUN, "flow", f"run:{run}", "flow", {"input": _LONG})))
    for place in range(20):
        await _commit(store, _unit(*_step(run, place)))

    cache = _engine(store).cache
    remembered = {node.kind: node for _, node in cache.by_id.values()}

    assert remembered[NodeKind.RUN].attributes == {}
    assert not {NodeKind.STEP, NodeKind.ATTEMPT} & {*remembered, *(one.kind for one in cache.nodes.values())}
    assert remembered[NodeKind.PREDICATE].attributes["cardinality"] == "multi"
    await store.close()


class _Counting:
    """Counts what goes through a connection."""

    def __init__(self, db: Statements, statements: list[str]) -> None:
        self._db = db
        self._statements = statements

    def execute(self, statements: str, bindings: object = None) -> Rows:
        self._statements.append(statements)
        return self._db.execute(statements, cast("list[object] | None", bindings))

    def __getattr__(self, name: str) -> object:
        return getattr(self._db, name)


async def test_a_group_of_steps_asks_for_their_places_and_little_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await SqliteStore.open(tmp_path / "latewood.db")
    runs = [_IDS.new() for _ in range(8)]
    await _commit(store, *(_unit(Declare(one, NodeKind.RUN, "flow", f"run:{one}", "flow")) for one in runs))
    await _commit(store, *(_unit(*_step(one, 1)) for one in runs))
    statements: list[str] = []
    write = _engine(store).write

    async def counted(work: object, **how: object) -> object:
        def wrapped(connection: object) -> object:
            return cast("object", work(_Counting(cast("Statements", connection), statements)))  # type: ignore[operator]

        return await write(wrapped, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(_engine(store), "write", counted)
    await _commit(store, *(_unit(*_step(one, 2)) for one in runs))

    asked = [one for one in statements if one.lstrip().startswith("select")]
    # Which ids are taken, and of each step whether its place is.
    assert len(asked) == 1 + len(runs), asked
    await store.close()


async def test_a_value_of_text_and_a_status_reach_the_views_also_after_groups_without_any(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "latewood.db")
    run = _IDS.new()
    await _commit(store, _unit(Declare(run, NodeKind.RUN, "flow", f"run:{run}", "flow")))
    await _commit(store, _unit(*_step(run, 1)))
    await _commit(
        store,
        _unit(Assert(_IDS.new(), Ref(id=run), "status", Value.of("running"))),
        _unit(Assert(_IDS.new(), Ref(id=run), "note", Value.of("late again"))),
    )
    await _commit(store, _unit(*_step(run, 2)))

    rows = await _engine(store).read(
        lambda db: [
            db.execute("select status from status").fetchall(),
            db.execute("select predicate from memory order by e").fetchall(),
            db.execute("select distinct e = (select max(e) from event) from reached").fetchall(),
        ]
    )

    assert rows == [[("running",)], [("status",), ("note",)], [(1,)]]
    await store.close()
