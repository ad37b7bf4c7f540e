"""Measure how long recall takes, beside a bare search of the same texts and vectors in the same process.

    uv run python bench/recall_speed.py [--memories 10000 100000] [--questions 100] [--folder DIR] [--json]

Memories are turns of sessions of forty, of words drawn like those of a language (few often, many seldom), each with a random
vector of 384 numbers. Bare is what recall cannot do without: SQLite's full text, the best hundred of any word in the question,
and a scan of all vectors by numpy, the nearest hundred. Both sides answer the same questions in turn, so that whatever else the
machine does slows both. Making the question's vector is in neither.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import numpy as np

from latewood.graph_schema.clock import NOW
from latewood.graph_schema.commands import Assert, Ref
from latewood.graph_schema.model import NodeKind
from latewood.graph_schema.values import Value
from latewood.memory import Memory
from latewood.reasoning.querywords import content_words
from latewood.reasoning.recall import Question, recall

DIMENSIONS = 384
VOCABULARY = 20_000
SESSION_TURNS = 40
WORDS_A_TURN = 20
WORDS_A_QUESTION = 6
BATCH = 1_000
FOUND = 100
START = 1_700_000_000_000_000
SECOND = 1_000_000
MODEL = "random"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def sentence(chance: random.Random, count: int) -> str:
    """Draw words as languages do: the n-th most frequent one n times as seldom as the first."""
    return " ".join(f"w{int(VOCABULARY ** chance.random())}" for _ in range(count))


def unit_vectors(count: int, seed: int) -> Any:
    rows = np.random.default_rng(seed).standard_normal((count, DIMENSIONS), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


async def write(memory: Memory, texts: Sequence[str], vectors: Any) -> None:
    await memory.store.begin_generation(memory.space, MODEL, model=MODEL, dimensions=DIMENSIONS)
    for first in range(0, len(texts), BATCH):
        units = [
            memory.unit(
                [
                    Assert(
                        memory.ids.new(),
                        Ref(key=f"session:{place // SESSION_TURNS}", kind=NodeKind.SESSION, type="session", name=f"s{place}"),
                        "said", Value.of({"speaker": f"p{place % 7}", "text": text}), valid_from=START + place * SECOND,
                    )
                ],
                [place], by=f"human:p{place % 7}",
            )
            for place, text in enumerate(texts[first : first + BATCH], first)
        ]  # fmt: skip
        receipts = await memory.submit_many(units)
        made = {one.facts[0]: vectors[first + place].tobytes() for place, one in enumerate(receipts)}
        await memory.store.keep_vectors(memory.space, MODEL, made)


class Bare:
    """Full text and vectors with nothing around them."""

    def __init__(self, texts: Sequence[str], vectors: Any) -> None:
        self._db: Any = apsw.Connection(":memory:")
        self._db.execute("create virtual table t using fts5(body, tokenize='porter unicode61 remove_diacritics 2')")
        with self._db:
            self._db.executemany("insert into t(rowid, body) values(?, ?)", enumerate(texts))
        self._vectors = vectors

    def search(self, text: str, vector: Any) -> int:
        """Return how many were found by words and by vectors."""
        match = " OR ".join(f'"{word}"' for word in content_words(text))
        words = list(self._db.execute("select rowid from t where t match ? order by rank limit ?", (match, FOUND)))
        scores: Any = self._vectors @ vector
        best: Any = np.argpartition(-scores, FOUND)[:FOUND]
        return len(words) + len(best[np.argsort(-scores[best])])


def spread(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "p50_ms": round(1_000 * statistics.median(ordered), 2),
        "p95_ms": round(1_000 * ordered[int(0.95 * (len(ordered) - 1))], 2),
    }


async def measure(url: str, count: int, questions: int) -> dict[str, Any]:
    chance = random.Random(count)
    texts = [sentence(chance, WORDS_A_TURN) for _ in range(count)]
    vectors = unit_vectors(count, count)
    bare = Bare(texts, vectors)
    asked = [(sentence(chance, WORDS_A_QUESTION), one) for one in unit_vectors(questions + 3, count + 1)]
    ours: list[float] = []
    theirs: list[float] = []
    async with Memory.open(url, by="system:bench", sync="normal", embedder="none") as memory:
        began = time.perf_counter()
        await write(memory, texts, vectors)
        say(f"{count:,} memories written in {time.perf_counter() - began:.0f} s")
        for text, vector in asked:

            async def embed(_: str, vector: Any = vector) -> tuple[str, bytes]:
                return MODEL, vector.tobytes()

            began = time.perf_counter()
            answer = await recall(memory.store, memory.space, Question(text), NOW, embed)
            between = time.perf_counter()
            found = await asyncio.to_thread(bare.search, text, vector)
            ended = time.perf_counter()
            if not answer.hits or not found:
                raise RuntimeError(f"nothing was found for {text!r}")
            ours.append(between - began)
            theirs.append(ended - between)
    # The first ones fill caches on both sides.
    ours, theirs = ours[3:], theirs[3:]
    ratio = statistics.median(ours) / statistics.median(theirs)
    return {"memories": count, "recall": spread(ours), "bare": spread(theirs), "ratio": round(ratio, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", type=int, nargs="+", default=[10_000, 100_000], metavar="N")
    parser.add_argument("--questions", type=int, default=100, metavar="N")
    parser.add_argument("--folder", metavar="DIR", help="a folder for the files; one of its own when left out")
    parser.add_argument("--json", action="store_true", help="print nothing but the result, which is JSON in any case")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        sizes = [
            asyncio.run(measure(str(Path(folder) / f"{count}.db"), count, given.questions)) for count in given.memories
        ]
    print(json.dumps({"sizes": sizes, "ratio_max": max(one["ratio"] for one in sizes)}))


if __name__ == "__main__":
    main()
