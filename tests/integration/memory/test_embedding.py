"""Vectors through the one door: written with the words, never in their way, made later where they are missing."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from latewood.graph_schema.commands import Assert, Ref, Unit
from latewood.graph_schema.errors import InvalidError, RefusedError, UnavailableError
from latewood.graph_schema.model import NodeKind
from latewood.graph_schema.values import Value
from latewood.ingestion.embedding.port import Vector, cut, packed
from latewood.memory import Memory
from latewood.memory.filling import Filler
from latewood.storage.searching import Generation

STORES = ("sqlite", "reference", "neo4j")
DECK = "carrier:A"


class Letters:
    """An embedder by the letters of a text: quick, always the same, and near where the letters are."""

    def __init__(self, model: str = "letters", dimensions: int = 26) -> None:
        self.model = model
        self.dimensions = dimensions
        self.calls: list[list[str]] = []
        self.error: Exception | None = None

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        if self.error is not None:
            raise self.error
        self.calls.append(list(texts))
        found: list[Vector] = []
        for text in cut(texts):
            row = [0.01] * self.dimensions
            for char in text.lower():
                row[hashlib.sha256(char.encode()).digest()[0] % self.dimensions] += 1.0
            vector = packed(row)
            assert vector is not None
            found.append(vector)
        return found

    @property
    def texts(self) -> list[str]:
        return [text for call in self.calls for text in call]


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "neo4j":
        return request.getfixturevalue("neo4j_url")
    return "reference:" if request.param == "reference" else str(tmp_path / "t.db")


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    return str(tmp_path / "t.db")


async def fresh(memory: Memory, name: str) -> Memory:
    """A space of its own: the Neo4j is shared by the tests of this file."""
    await memory.create_space(name)
    return memory.within(space=name)


def turn(memory: Memory, text: str, op: str | None = None) -> Unit:
    """A unit that keeps *text* as what a session said."""
    session = Ref(key="session:s1", kind=NodeKind.SESSION)
    return memory.unit([Assert(memory.ids.new(), session, "said", Value.of(text))], text, idempotency_key=op)


async def generations(memory: Memory) -> tuple[Generation, ...]:
    return await memory.store.generations(memory.space)


async def test_a_write_is_found_by_its_meaning_at_once(sqlite: str) -> None:
    async with Memory.open(sqlite, by="human:ada", embedder="light") as memory:
        await memory.observe("service:api", "note", "The certificate of the load balancer expired")
        await memory.observe("dog:biscuit", "note", "He loves to swim in the lake")

        found = await memory.recall("Which TLS credentials ran out?")
    assert found.notes == ()
    assert found.hits[0].text == "The certificate of the load balancer expired"
    assert {clue.signal.value for clue in found.hits[0].clues} >= {"vectors"}


async def test_vectors_are_written_with_the_words(url: str) -> None:
    letters = Letters()
    async with Memory.open(url, by="human:ada", embedder=letters) as opened:
        memory = await fresh(opened, "written")
        assert await generations(memory) == ()

        await memory.observe(DECK, "note", "late again")
        await memory.observe(DECK, "weight", 12)
        assert await generations(memory) == (Generation("letters", "letters", 26, "current", 1, 0),)

        units = [turn(memory, f"turn {place} of many") for place in range(300)]
        await memory.submit_many(units)
        assert [(one.filled, one.missing) for one in await generations(memory)] == [(301, 0)]

        (asked,) = letters.embed(["late again"])
        (nearest,) = (await memory.store.match_vector("written", asked, "letters", first=1)).items
        assert (await memory.fact(nearest.fact)).value == Value.of("late again")
    # Many units were embedded together, and nothing twice.
    assert len(letters.calls) <= 5
    assert len(letters.texts) == len(set(letters.texts)) + 1


async def test_a_second_run_of_an_import_embeds_hardly_anything(sqlite: str) -> None:
    def units(memory: Memory, count: int) -> list[Unit]:
        return [turn(memory, f"turn {place}", op=f"import:{place}") for place in range(count)]

    letters = Letters()
    async with Memory.open(sqlite, by="human:ada", embedder=letters) as memory:
        await memory.submit_many(units(memory, 300))
        assert len(letters.texts) == 300

        receipts = await memory.submit_many(units(memory, 300))
        assert all(receipt.replayed for receipt in receipts)
        # Only its first part, of which nobody knew yet that it was a second run.
        assert len(letters.texts) == 300 + 256

        receipts = await memory.submit_many(units(memory, 340))
        assert sum(not receipt.replayed for receipt in receipts) == 40
        assert [(one.filled, one.missing) for one in await generations(memory)] == [(340, 0)]
        assert len(letters.texts) == 300 + 256 + 40


async def test_writers_that_wait_are_embedded_together(sqlite: str) -> None:
    class Slow(Letters):
        begun = threading.Event()
        go_on = threading.Event()

        def embed(self, texts: Sequence[str]) -> list[Vector]:
            self.begun.set()
            assert self.go_on.wait(30)
            return super().embed(texts)

    slow = Slow()
    async with Memory.open(sqlite, by="human:ada", embedder=slow) as memory:
        first = asyncio.create_task(memory.observe(DECK, "note", "first"))
        await asyncio.to_thread(slow.begun.wait, 30)
        others = [asyncio.create_task(memory.observe(f"carrier:{n}", "note", f"other {n}")) for n in range(20)]
        # Each of them has to get as far as the embedder before it may go on.
        async with asyncio.timeout(30):
            while len(memory._engine.embedding._waiting) < len(others):  # noqa: ASYNC110 - no event says so
                await asyncio.sleep(0.005)
        slow.go_on.set()
        await asyncio.gather(first, *others)

        assert [(one.filled, one.missing) for one in await generations(memory)] == [(21, 0)]
    assert [len(call) for call in slow.calls] == [1, 20]


async def test_a_failing_embedder_fails_no_write_and_is_made_up_for(url: str) -> None:
    letters = Letters()
    async with Memory.open(url, by="human:ada", embedder=letters) as opened:
        memory = await fresh(opened, "failing")
        await memory.observe(DECK, "note", "kept with its vector")
        letters.error = UnavailableError("the server is down", code="embedder.unavailable")
        with capture_logs() as logs:
            for place in range(5):
                await memory.observe(f"carrier:{place}", "note", f"kept without {place}")

        assert [entry["event"] for entry in logs] == ["embedder_failed"]
        assert [(one.filled, one.missing) for one in await generations(memory)] == [(1, 5)]
        found = await memory.recall("without 3")
        assert found.hits[0].text == "kept without 3"
        assert "the embedder fails" in found.notes[0]

        with pytest.raises(UnavailableError, match="the server is down"):
            await memory.reindex()
        letters.error = None
        report = await memory.reindex()
        assert (report.made, report.left_out, report.switched, report.dropped) == (5, 0, False, ())
        assert [(one.filled, one.missing) for one in await generations(memory)] == [(6, 0)]
        assert (await memory.reindex()).made == 0


async def test_a_space_that_had_no_embedder_gets_its_vectors_later(sqlite: str) -> None:
    async with Memory.open(sqlite, by="human:ada", embedder="none") as memory:
        await memory.decide("Keep carrier A", because="it is cheap")
        assert await generations(memory) == ()
        assert "no embedder" in (await memory.recall("carrier")).notes[0]
        with pytest.raises(InvalidError, match="no embedder is chosen") as caught:
            await memory.reindex()
        assert caught.value.code == "setting.invalid"

        report = await memory.reindex(Letters())
        assert (report.generation, report.switched, report.made) == ("letters", False, 2)


async def test_another_model_grows_beside_the_old_one_and_takes_over(url: str) -> None:
    old, new = Letters("old one", 26), Letters("new/one", 40)
    async with Memory.open(url, by="human:ada", embedder=old) as opened:
        memory = await fresh(opened, "another")
        await memory.submit_many([turn(memory, f"turn {place}") for place in range(300)])
        seen: list[tuple[int, int]] = []

        def while_it_runs(done: int, total: int) -> None:
            seen.append((done, total))

        report = await memory.reindex(new, progress=while_it_runs)
        assert (report.generation, report.model, report.dimensions) == ("new/one", "new/one", 40)
        assert (report.made, report.switched, report.dropped) == (300, True, ("old-one",))
        assert seen == [(128, 300), (256, 300), (300, 300)]
        assert await generations(memory) == (Generation("new/one", "new/one", 40, "current", 300, 0),)

        # This handle's embedder is the old one still: its vectors do not get among those of the new.
        await memory.observe(DECK, "note", "written in between")
        assert [(one.model, one.filled, one.missing) for one in await generations(memory)] == [("new/one", 300, 1)]
        assert "the embedder is old one, the vectors new/one's" in (await memory.recall("in between")).notes[0]
    async with Memory.open(url, space="another", by="human:ada", embedder=new) as memory:
        if url == "reference:":
            return
        assert (await memory.reindex()).made == 1
        assert (await memory.recall("written in between")).notes == ()


async def test_what_is_written_while_it_runs_is_not_missed(sqlite: str) -> None:
    old = Letters("old")

    class Watched(Letters):
        """Lets a writer in with each of the first two pages, the last before the switch."""

        loop: asyncio.AbstractEventLoop
        left = 2

        def embed(self, texts: Sequence[str]) -> list[Vector]:
            if self.left:
                self.left -= 1
                write = memory.observe(DECK, f"note_{self.left}", f"came while it ran, {self.left} left")
                asyncio.run_coroutine_threadsafe(write, self.loop).result(30)
            return super().embed(texts)

    async with Memory.open(sqlite, by="human:ada", embedder=old) as memory:
        await memory.submit_many([turn(memory, f"turn {place}") for place in range(200)])
        new = Watched("new")
        new.loop = asyncio.get_running_loop()
        report = await memory.reindex(new, keep_old=True)

        assert report.dropped == ()
        by_model = {one.model: one for one in await generations(memory)}
        assert (by_model["new"].state, by_model["new"].filled, by_model["new"].missing) == ("current", 202, 0)
        assert (by_model["old"].state, by_model["old"].filled) == ("old", 202)

        # Back to what is still there costs nothing.
        back = await memory.reindex(old)
        assert (back.made, back.switched, back.dropped) == (0, True, ("new",))


async def test_a_stopped_run_goes_on_where_it_stopped(url: str) -> None:
    class Stops(Letters):
        def embed(self, texts: Sequence[str]) -> list[Vector]:
            if len(self.calls) == 2:
                raise UnavailableError("stopped", code="embedder.unavailable")
            return super().embed(texts)

    async with Memory.open(url, by="human:ada", embedder="none") as opened:
        memory = await fresh(opened, "stopped")
        await memory.submit_many([turn(memory, f"turn {place}") for place in range(300)])
        await memory.store.begin_generation("stopped", "before", model="before", dimensions=3)
        first = Stops()
        with pytest.raises(UnavailableError, match="stopped"):
            await memory.reindex(first)
        half = {one.name: one for one in await generations(memory)}
        assert (half["letters"].state, half["letters"].filled, half["before"].state) == ("building", 256, "current")

        rest = Letters()
        report = await memory.reindex(rest)
        assert (report.made, report.switched) == (44, True)
        assert sorted(first.texts + rest.texts) == sorted(f"turn {place}" for place in range(300))


async def test_texts_that_the_embedder_refuses_are_left_out_and_the_rest_is_made(sqlite: str) -> None:
    class Picky(Letters):
        def embed(self, texts: Sequence[str]) -> list[Vector]:
            if any("secret" in text for text in texts):
                raise RefusedError("refused with 400: not this", code="embedder.refused")
            return super().embed(texts)

    async with Memory.open(sqlite, by="human:ada", embedder="none") as memory:
        await memory.submit_many([turn(memory, f"turn {place}") for place in range(5)])
        await memory.submit_many([turn(memory, f"secret {place}") for place in range(2)])
        report = await memory.reindex(Picky())

        assert (report.made, report.left_out) == (5, 2)
        # Only the refused ones are left now, and that is no error either.
        again = await memory.reindex(Picky())
        assert (again.made, again.left_out) == (0, 2)


async def test_an_embedder_that_refuses_everything_is_an_error(sqlite: str) -> None:
    letters = Letters()
    letters.error = RefusedError("refused with 401: no such key", code="embedder.refused")
    async with Memory.open(sqlite, by="human:ada", embedder="none") as memory:
        await memory.submit_many([turn(memory, f"turn {place}") for place in range(5)])

        with pytest.raises(RefusedError, match="no such key"):
            await memory.reindex(letters)
        assert all(one.filled == 0 for one in await generations(memory))


async def test_models_of_one_name_and_different_length_are_kept_apart(sqlite: str) -> None:
    async with Memory.open(sqlite, by="human:ada", embedder=Letters("m", 26)) as memory:
        await memory.observe(DECK, "note", "words")
        report = await memory.reindex(Letters("m", 30), keep_old=True)

        assert report.generation == "m+2"
        assert {(one.name, one.dimensions) for one in await generations(memory)} == {("m", 26), ("m+2", 30)}


async def test_a_setting_that_names_no_embedder_makes_no_file(tmp_path: Path, sqlite: str) -> None:
    with pytest.raises(InvalidError, match="LATEWOOD_EMBEDDER") as caught:
        await Memory.open(sqlite, embedder="best")

    assert caught.value.code == "setting.invalid"
    assert not await asyncio.to_thread(lambda: list(tmp_path.iterdir()))


@pytest.mark.parametrize("url", ["sqlite", "reference"], indirect=True)
async def test_a_process_that_stays_fills_in_what_is_missing(url: str) -> None:
    embedder = Letters()
    async with Memory.open(url, by="agent:x", embedder=embedder, sync="normal") as memory:
        filler = Filler(memory, rest=0.0)
        await memory.observe("a:1", "note", "with a vector")
        other = memory.within(tenant="blue")
        await other.observe("a:1", "note", "of another tenant")
        embedder.error = UnavailableError("down", code="embedder.failed")
        for number in range(70):
            await memory.observe(f"a:{number}", "note", f"number {number}")
        await other.observe("a:2", "note", "late")
        await other.observe("a:2", "status", "on hold")
        step = Assert(other.ids.new(), Ref(key="step:1", kind=NodeKind.STEP), "output", Value.of("forty words"))
        await other.submit(replace(other.unit([step], ["step"]), ledger="execution"))
        down = await filler.look(["blue"])
        embedder.error, embedder.calls = None, []
        made = await filler.look(["blue"])
        sizes = [len(call) for call in embedder.calls]
        again = await filler.look(["blue"])
        await memory.observe("a:1", "note", "another")
        new, calls = await filler.look(), len(embedder.calls)
        left = [one.missing for handle in (memory, other) for one in await handle.store.generations("default")]

    # What runs leave behind, and where things stand, is found by its words.
    assert (down, made, again) == (0, 71, 0)
    assert max(sizes) <= 32
    # It was made with the words, or is made now: the embedder rests after a fault.
    assert (new, left, calls) == (1, [0, 2], len(sizes) + 1)


async def test_another_models_vectors_are_not_filled(tmp_path: Path) -> None:
    url = str(tmp_path / "t.db")
    async with Memory.open(url, by="agent:x", embedder=Letters()) as memory:
        await memory.observe("a:1", "note", "one")
    async with Memory.open(url, by="agent:x", embedder="none") as memory:
        await memory.observe("a:2", "note", "two")
        assert await Filler(memory).look() == 0
    other = Letters("another")
    async with Memory.open(url, by="agent:x", embedder=other) as memory:
        assert await Filler(memory).look() == 0
        assert other.calls == []
