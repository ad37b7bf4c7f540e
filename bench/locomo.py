"""Measure recall on LoCoMo: how much of the evidence for each question is among what recall returns.

    uv run python bench/locomo.py DATA.json [--json] [--db URL] [--without SIGNAL ...] [--no-embedder]

DATA.json is the file of the LoCoMo data set (conversations, questions, and the turns that answer each). Every turn is one
memory of a session, as transcripts are taken in; each conversation has a space of its own. Questions of category 5, which
nothing answers, and those whose evidence names no turn are left out. ``recall@10`` is the mean part of a question's evidence
among the first ten memories, over all questions. One set of parameters for all conversations: the product's own.

--without leaves a signal out (words, vectors, neighbour, subject, evidence, named, time): what is missing then is what it
brings. --db takes an address (a file, neo4j://...) for a store that has no spaces of these names yet.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from latewood.graph_schema.clock import NOW, to_micros
from latewood.graph_schema.commands import Assert, Ref, SourceSpec
from latewood.graph_schema.model import NodeKind
from latewood.graph_schema.values import Value
from latewood.ingestion.embedding.choice import Choice
from latewood.ingestion.embedding.port import Embedder
from latewood.memory import Memory, Signal
from latewood.reasoning.recall import Embed, Question, recall

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop"}
UNANSWERABLE = 5
SESSIONS_MAX = 200
BATCH = 500
GENERATION = "bench"
SIGNALS = frozenset(Signal)


@dataclass(frozen=True, slots=True)
class Turn:
    id: str
    session: str
    speaker: str
    text: str
    said_at: datetime


@dataclass(frozen=True, slots=True)
class Asked:
    text: str
    category: str
    evidence: frozenset[str]


@dataclass(frozen=True, slots=True)
class Score:
    category: str
    at_10: float
    at_20: float
    seconds: float


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def turns_of(conversation: dict[str, Any]) -> list[Turn]:
    found: list[Turn] = []
    for number in range(1, SESSIONS_MAX):
        session: list[dict[str, str]] = conversation.get(f"session_{number}") or []
        if not session:
            continue
        words = conversation[f"session_{number}_date_time"].strip()
        start = datetime.strptime(words, "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
        found += [
            Turn(one["dia_id"], str(number), one["speaker"], one["text"], start + timedelta(seconds=place))
            for place, one in enumerate(session)
        ]
    return found


def questions_of(listed: Sequence[dict[str, Any]], known: frozenset[str]) -> list[Asked]:
    found: list[Asked] = []
    for one in listed:
        # Some ids are misspelt in the data: "D8:6; D9:17" for two, "D:11:26".
        named = (
            f"D{m[1]}:{m[2]}" for item in one.get("evidence") or () for m in re.finditer(r"D:?0*(\d+):0*(\d+)", item)
        )
        evidence = known.intersection(named)
        if one["category"] != UNANSWERABLE and evidence:
            found.append(Asked(one["question"], CATEGORIES[one["category"]], evidence))
    return found


async def write(memory: Memory, turns: Sequence[Turn]) -> None:
    units = [
        memory.unit(
            [
                Assert(
                    memory.ids.new(), Ref(key=f"session:{one.session}", kind=NodeKind.SESSION, type="session", name=one.session),
                    "said", Value.of({"speaker": one.speaker, "text": one.text}), valid_from=to_micros(one.said_at),
                    locator=one.id,
                )
            ],
            ["turn", one.id], by=f"human:{one.speaker.casefold()}", session=one.session,
            source=SourceSpec("locomo", "imported"), idempotency_key=one.id,
        )
        for one in turns
    ]  # fmt: skip
    for place in range(0, len(units), BATCH):
        await memory.submit_many(units[place : place + BATCH])


async def fill(memory: Memory, embedder: Embedder) -> None:
    """Give every memory its vector, as a backfill does."""
    store, space = memory.store, memory.space
    known = next((one for one in await store.generations(space) if one.state == "current"), None)
    name = known.name if known is not None else GENERATION
    await store.begin_generation(space, name, model=embedder.model, dimensions=embedder.dimensions)
    after = None
    while True:
        page = await store.unembedded(space, name, after=after, limit=BATCH)
        vectors = await asyncio.to_thread(embedder.embed, [text for _, text in page.items])
        await store.keep_vectors(
            space, name, {fact: vector for (fact, _), vector in zip(page.items, vectors, strict=True)}
        )
        if (after := page.next) is None:
            return


async def measure(
    memory: Memory, asked: Sequence[Asked], embed: Embed | None, without: frozenset[Signal]
) -> list[Score]:
    scores: list[Score] = []
    for one in asked:
        began = time.perf_counter()
        answer = await recall(memory.store, memory.space, Question(one.text, without=without), NOW, embed)
        seconds = time.perf_counter() - began
        found = [hit.fact.source.locator for hit in answer.hits if hit.fact.source is not None]
        parts = [len(one.evidence.intersection(found[:count])) / len(one.evidence) for count in (10, 20)]
        scores.append(Score(one.category, parts[0], parts[1], seconds))
    return scores


def summary(scores: Sequence[Score]) -> dict[str, Any]:
    return {
        "recall@10": round(statistics.fmean(one.at_10 for one in scores), 4),
        "recall@20": round(statistics.fmean(one.at_20 for one in scores), 4),
        "questions": len(scores),
    }


async def run(
    samples: Sequence[dict[str, Any]], url: str, embedder: Embedder | None, without: frozenset[Signal]
) -> dict[str, Any]:
    async def embed(text: str) -> tuple[str, bytes] | None:
        if embedder is None:
            return None
        return embedder.model, (await asyncio.to_thread(embedder.embed, [text]))[0]

    scores: list[Score] = []
    count = 0
    # The memory would embed one transaction after the other what `fill` embeds in large batches.
    async with Memory.open(url, by="system:bench", embedder="none") as opened:
        for sample in samples:
            turns = turns_of(sample["conversation"])
            name = str(sample["sample_id"])
            await opened.create_space(name)
            memory = opened.within(space=name)
            await write(memory, turns)
            if embedder is not None:
                await fill(memory, embedder)
            asked = questions_of(sample["qa"], frozenset(one.id for one in turns))
            own = await measure(memory, asked, None if embedder is None else embed, without)
            say(f"{name}: {len(turns)} turns, {summary(own)}")
            scores += own
            count += len(turns)
    times = sorted(one.seconds for one in scores)
    return {
        **summary(scores),
        "by_category": {
            name: summary([one for one in scores if one.category == name])
            for name in CATEGORIES.values()
            if any(one.category == name for one in scores)
        },
        "turns": count,
        "without": sorted(without),
        "embedder": None if embedder is None else embedder.model,
        "p50_ms": round(1_000 * times[len(times) // 2], 1),
        "p95_ms": round(1_000 * times[int(0.95 * len(times))], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA.json")
    parser.add_argument("--db", metavar="URL", help="a store without these spaces; a file of its own when left out")
    parser.add_argument("--without", action="append", default=[], choices=sorted(SIGNALS), metavar="SIGNAL")
    parser.add_argument("--no-embedder", action="store_true", help="words and graph alone")
    parser.add_argument("--json", action="store_true", help="print nothing but the result, which is JSON in any case")
    given = parser.parse_args()
    embedder = None if given.no_embedder else Choice.read("light").open()
    samples = json.loads(given.data.read_text("utf-8"))
    without = frozenset(Signal(one) for one in given.without)
    with tempfile.TemporaryDirectory() as folder:
        url = given.db or str(Path(folder) / "locomo.db")
        print(json.dumps(asyncio.run(run(samples, url, embedder, without))))


if __name__ == "__main__":
    main()
