"""What was released is opened and brought forward: the same answers, a copy beside it, and all of the steps or none."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import apsw
import pytest
from simulation.children import Death, Job, run
from simulation.ledgers import check_store
from simulation.matrix import CRASHES
from simulation.stores import opened_later
from simulation.synthetic import ADDING, FAILING, REWRITING

from latewood.graph_schema.clock import ManualClock
from latewood.graph_schema.errors import LatewoodError, NotFoundError, UnavailableError
from latewood.memory import Memory
from latewood.memory.upgrading import migrate
from latewood.storage.sqlite import migrations
from latewood.storage.sqlite.migrations import CURRENT, Schema
from latewood.storage.sqlite.store import SqliteStore

RELEASED: Final = sorted((Path(__file__).parents[1] / "data" / "released").glob("*.db"))
SPACES: Final = ("default", "past")


def _writer() -> ModuleType:
    spec = spec_from_file_location("released_writer", RELEASED[0].with_name("write.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _missing(expected: Any, found: Any, where: str = "") -> list[str]:
    """Say where *found* lacks or changes something of *expected*; a later release may tell more, never less."""
    if isinstance(expected, dict) and isinstance(found, dict):
        gone = [f"{where}.{key} is gone" for key in expected if key not in found]
        return gone + [
            one for key in expected if key in found for one in _missing(expected[key], found[key], f"{where}.{key}")
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = zip(expected, found, strict=True)
        return [one for place, pair in enumerate(pairs) for one in _missing(*pair, f"{where}[{place}]")]
    return [] if expected == found else [f"{where}: {expected!r:.200} became {found!r:.200}"]


@pytest.fixture(params=RELEASED, ids=[path.stem for path in RELEASED])
def released(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a database that a released Latewood wrote."""
    return shutil.copy(request.param, tmp_path / "released.db")


async def _same_answers(path: Path) -> None:
    document = json.loads(next(one for one in RELEASED if one.stem == "0.1.0").with_suffix(".json").read_text())
    async with Memory.open(str(path), clock=ManualClock(datetime(2026, 2, 1, tzinfo=UTC))) as memory:
        found = await _writer().ask(memory, document["known"])
    assert len(found) > 20
    assert _missing(document["answers"], found) == []


def _version(path: Path) -> int:
    return next(int(one[1]) for one in _schema_of(path) if one[0] == "version")


@pytest.fixture
async def current(released: Path) -> Path:
    """Released data that this Latewood has brought to its schema, without the copy."""
    await (await SqliteStore.open(released)).close()
    for copy in released.parent.glob("*.backup"):
        copy.unlink()
    return released


def _bytes(path: Path) -> bytes:
    return path.read_bytes()


def _schema_of(path: Path) -> set[tuple[Any, ...]]:
    database = apsw.Connection(str(path))
    # Words are indexed in tables of their own for each space; how many there are is data.
    kept = "select type, name, tbl_name, sql from sqlite_schema where name not like 'text_%'"
    found = set(database.execute(kept))
    found.add(("version", *next(database.execute("pragma user_version"))))
    database.close()
    return found


async def test_released_data_gives_the_same_answers_today(released: Path) -> None:
    await _same_answers(released)

    async with opened_later(str(released)) as store:
        await check_store(store, *SPACES)
    async with Memory.open(str(released), by="human:ada") as memory:
        again = await memory.decide(
            "Move the Lyon lane to carrier B", because="A has been late three weeks running", about=["carrier:A"],
            evidence=[(await _known(released))["late"]], supersedes=[(await _known(released))["first"]], key="d:2",
            confidence=0.8, idempotency_key="move-once", session="s-1",
        )  # fmt: skip
        await memory.observe("carrier:A", "on_time_rate", 0.5, unit="ratio")
        assert again.receipt.replayed
    async with opened_later(str(released)) as store:
        await check_store(store, *SPACES)


async def _known(path: Path) -> dict[str, str]:
    return json.loads(RELEASED[0].with_suffix(".json").read_text())["known"]


async def test_released_data_has_the_schema_of_a_new_file_once_it_was_opened(released: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh.db"
    for path in (released, fresh):
        await (await SqliteStore.open(path)).close()

    assert _schema_of(released) == _schema_of(fresh)


async def test_steps_that_only_add_are_taken_when_it_is_opened_and_a_copy_is_kept(
    released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, found = _schema_of(released), _version(released)
    monkeypatch.setattr(migrations, "CURRENT", ADDING)
    await _same_answers(released)
    async with opened_later(str(released)) as store:
        await check_store(store, *SPACES)

    fresh = released.with_name("fresh.db")
    await (await SqliteStore.open(fresh)).close()
    assert ("version", ADDING.version) in _schema_of(released)
    assert {one[1] for one in _schema_of(released)} == {one[1] for one in _schema_of(fresh)}
    (copy,) = released.parent.glob("*.backup")
    assert copy.name == f"released.db.schema-{found}.backup"
    monkeypatch.setattr(migrations, "CURRENT", CURRENT)
    assert _schema_of(copy) == before
    # The copy is a whole database: what to go back to when the new release disappoints.
    await _same_answers(copy)


async def test_an_upgraded_file_is_refused_by_the_release_before(
    released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "CURRENT", ADDING)
    await (await SqliteStore.open(released)).close()
    monkeypatch.setattr(migrations, "CURRENT", CURRENT)

    with pytest.raises(UnavailableError, match=f"schema {ADDING.version}.*up to {CURRENT.version}") as caught:
        await SqliteStore.open(released)

    assert caught.value.code == "schema.newer"


async def test_a_step_that_rewrites_waits_for_the_command(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, found = _bytes(released), _version(released)
    monkeypatch.setattr(migrations, "CURRENT", REWRITING)

    with pytest.raises(UnavailableError, match="latewood migrate --db") as caught:
        await SqliteStore.open(released)
    assert caught.value.code == "schema.older"
    tried = await migrate(str(released), dry_run=True)
    assert _bytes(released) == before
    assert list(released.parent.glob("*.backup")) == []
    done = await migrate(str(released))
    nothing = await migrate(str(released))

    assert (tried.applied, done.applied, nothing.applied) == (False, True, False)
    assert tried.steps == done.steps
    assert [step.partition(":")[0] for step in done.steps] == [
        f"schema {number}" for number in range(found + 1, REWRITING.version + 1)
    ]
    assert (done.found, done.schema, nothing.steps) == (found, REWRITING.version, ())
    assert done.backup is not None
    assert done.backup in {str(one) for one in released.parent.glob("*.backup")}
    await _same_answers(released)


async def test_no_copy_is_made_where_none_is_wanted(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "CURRENT", ADDING)
    done = await migrate(str(released), backup=False)

    assert done.applied
    assert done.backup is None
    assert list(released.parent.glob("*.backup*")) == []


async def test_a_step_that_fails_takes_the_ones_before_it_back(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _schema_of(released)
    monkeypatch.setattr(migrations, "CURRENT", FAILING)
    for _ in range(3):
        with pytest.raises(LatewoodError, match="nowhere"):
            await SqliteStore.open(released)

    monkeypatch.setattr(migrations, "CURRENT", CURRENT)
    assert _schema_of(released) == before
    # One copy however often it is tried: the state is the same.
    assert len(list(released.parent.glob("*.backup"))) == 1
    await _same_answers(released)


async def test_another_state_gets_a_copy_of_its_own(current: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def try_it(schema: Schema) -> None:
        monkeypatch.setattr(migrations, "CURRENT", schema)
        with pytest.raises(LatewoodError, match="nowhere"):
            await SqliteStore.open(current)
        monkeypatch.setattr(migrations, "CURRENT", CURRENT)

    await try_it(FAILING)
    async with Memory.open(str(current), by="human:ada") as memory:
        await memory.observe("carrier:B", "note", "written between two upgrades")
    await try_it(FAILING)

    first, second = sorted(current.parent.glob("*.backup"))
    assert second.name == f"released.db.schema-{CURRENT.version}.backup"
    assert first.name == f"released.db.schema-{CURRENT.version}.2.backup"
    async with Memory.open(str(first)) as memory:
        assert (await memory.entity("carrier:B")).facts
    async with Memory.open(str(second)) as memory:
        with pytest.raises(NotFoundError):
            await memory.entity("carrier:B")


@pytest.mark.parametrize(
    ("point", "hit"), [(crash.point, crash.hit) for crash in CRASHES if crash.task == "upgrade_file"]
)
async def test_a_process_killed_in_an_upgrade_leaves_the_file_as_it_was(
    point: str, hit: int, released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, found = _schema_of(released), _version(released)
    run(Job("upgrade_file", str(released), str(released.with_name("dead")), death=Death(point, hit)))

    assert _schema_of(released) == before
    await _same_answers(released)
    async with opened_later(str(released)) as store:
        await check_store(store, *SPACES)
    run(Job("upgrade_file", str(released), str(released.with_name("again"))))
    monkeypatch.setattr(migrations, "CURRENT", ADDING)
    assert ("version", ADDING.version) in _schema_of(released)
    # Asking for the answers brought it to today's schema, if it was older, with a copy of that.
    assert len(list(released.parent.glob("*.backup"))) == 1 + (found < CURRENT.version)
    assert list(released.parent.glob("*.part")) == []
    await _same_answers(released)
