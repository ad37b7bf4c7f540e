from __future__ import annotations

import pytest

from latewood.graph_schema.errors import InvalidError
from latewood.ingestion.embedding.choice import Choice
from latewood.ingestion.embedding.endpoint import EndpointEmbedder
from latewood.ingestion.embedding.light import LightEmbedder


@pytest.mark.parametrize(
    ("text", "kind", "name", "base_url"),
    [
        ("light", "light", "", ""),
        ("none", "none", "", ""),
        ("sentence-transformers:BAAI/bge-small-en-v1.5", "sentence-transformers", "BAAI/bge-small-en-v1.5", ""),
        ("sentence-transformers:/models/mine", "sentence-transformers", "/models/mine", ""),
        ("openai:text-embedding-3-small@https://api.openai.com/v1", "openai", "text-embedding-3-small", "https://api.openai.com/v1"),
        ("openai:me@here:v2@http://127.0.0.1:11434/v1/", "openai", "me@here:v2", "http://127.0.0.1:11434/v1"),
    ],
)  # fmt: skip
def test_every_form_is_read(text: str, kind: str, name: str, base_url: str) -> None:
    choice = Choice.read(text)

    assert (choice.kind, choice.name, choice.base_url) == (kind, name, base_url)
    assert choice.label == text.rstrip("/")


@pytest.mark.parametrize(
    "text",
    [
        "", "Light", "light:x", "sentence-transformers", "sentence-transformers:", "openai:", "openai:m", "openai:m@",
        "openai:m@ftp://host/v1", "openai:m@http://", "openai:m@http://host:x/v1", "openai:@http://host/v1",
        "openai:m@http://host/v1?key=1", "cohere:x",
    ],
)  # fmt: skip
def test_what_names_no_embedder_is_refused(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        Choice.read(text)

    assert caught.value.code == "setting.invalid"
    assert "LATEWOOD_EMBEDDER" in caught.value.message


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidError, match="LATEWOOD_EMBEDDER_KEY") as caught:
        Choice.read("openai:m@https://me:hunter2@host/v1")

    assert "hunter2" not in caught.value.message


def test_the_key_is_not_shown() -> None:
    choice = Choice.read("openai:m@http://host/v1", key="sk-secret")

    assert "sk-secret" not in repr(choice) + choice.label


@pytest.mark.parametrize("given", [{"threads": 0}, {"threads": 65}, {"dimensions": 0}, {"dimensions": 4097}])
def test_numbers_out_of_bounds_are_refused(given: dict[str, int]) -> None:
    with pytest.raises(InvalidError, match="it is 1 to "):
        Choice.read("light", **given)


def test_a_choice_opens_its_embedder() -> None:
    assert isinstance(Choice.read("light", threads=1).open(), LightEmbedder)
    endpoint = Choice.read("openai:m@http://127.0.0.1:9/v1", dimensions=8).open()
    assert isinstance(endpoint, EndpointEmbedder)
    assert (endpoint.model, endpoint.dimensions) == ("m/8", 8)
    endpoint.close()
    with pytest.raises(InvalidError, match="no embedder is chosen"):
        Choice.read("none").open()
