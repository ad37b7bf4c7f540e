"""Sessions in which something was decided and nothing was recorded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from latewood.graph_schema.clock import AsOf, ManualClock
from latewood.graph_schema.commands import Assert, Ref
from latewood.graph_schema.model import NodeKind
from latewood.graph_schema.values import Value
from latewood.memory import Memory, Written

START = datetime(2026, 3, 2, 9, tzinfo=UTC)


async def say(memory: Memory, session: str, minute: int, text: str) -> Written:
    said = Assert(
        memory.ids.new(), Ref(key=f"session:{session}", kind=NodeKind.SESSION, type="session", name=session), "said",
        Value.of({"speaker": "Ada", "text": text}, where="a turn"), relation=True,
        valid_from=int((START + timedelta(minutes=minute)).timestamp() * 1_000_000),
    )  # fmt: skip
    return Written(said.id, await memory.write([said], ["said", text], session=session))


@pytest.mark.parametrize("kind", ["reference", "sqlite"])
async def test_only_what_nobody_recorded_is_listed(kind: str, tmp_path: Path) -> None:
    url = "reference:" if kind == "reference" else str(tmp_path / "missing.db")
    async with Memory.open(url, by="human:ada", clock=ManualClock(START + timedelta(days=1))) as memory:
        await say(memory, "s-1", 0, "The Lyon lane is late again.")
        moved = await say(memory, "s-1", 1, "We decided to move the Lyon lane to carrier B.")
        rested = await say(memory, "s-1", 2, "Let's drop the penalties.")
        lost = await say(memory, "s-1", 3, "And I'll use the small truck from now on.")
        quiet = await say(memory, "s-2", 0, "We ruled out air freight.")
        await say(memory, "s-3", 0, "Nothing to decide here.")
        await memory.decide(
            "Move the Lyon lane to carrier B", because="late", session="s-1", decided_at=START + timedelta(minutes=2)
        )
        await memory.decide("No penalties", because="useless", session="s-1", evidence=[rested])
        await memory.decide("No air freight ruled out", because="elsewhere, later", session="s-2")

        page = await memory.missing_decisions()
        one = await memory.missing_decisions("session:s-2")
        early = await memory.missing_decisions(at=AsOf(valid_at=START + timedelta(minutes=1, seconds=30)))
        first = await memory.missing_decisions(first=1)

    assert [(part.turn.id, part.cue) for part in page.items] == [(quiet.id, "rejected"), (lost.id, "going to")]
    assert page.items[1].speaker == "Ada"
    assert page.items[1].sentence == "And I'll use the small truck from now on."
    assert [part.turn.id for part in one.items] == [quiet.id]
    assert {part.turn.id for part in early.items} == {quiet.id, moved.id}, "the decision was not taken yet"
    assert first.items == ()
    assert first.next is not None
