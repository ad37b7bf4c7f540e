from __future__ import annotations

import json
import socket
from collections.abc import Callable

import pytest
from servers import Answer, Asked, EmbeddingServer, embedding_server, in_turn, plainly, vector_of, vectors

from latewood.graph_schema.errors import InvalidError, RefusedError, UnavailableError
from latewood.ingestion.asking import Patience
from latewood.ingestion.embedding.endpoint import EndpointEmbedder
from latewood.ingestion.embedding.port import packed

Make = Callable[..., EndpointEmbedder]


def rows(*entries: object) -> Answer:
    return plainly(200, json.dumps({"data": entries}).encode())


def one(embedding: object, index: object = 0) -> dict[str, object]:
    return {"index": index, "embedding": embedding}


def test_each_text_gets_its_own_vector_at_length_one(endpoint: Make) -> None:
    texts = ["alpha", "be", "gamma ray"]
    with embedding_server(vectors()) as server:
        found = endpoint(server.url, key="sk-1").embed(texts)

    assert found == [packed(vector_of(text)) for text in texts]
    assert [(asked.path, asked.headers["authorization"]) for asked in server.asked] == [
        ("/v1/embeddings", "Bearer sk-1")
    ]
    assert server.asked[0].body == {"model": "m", "input": texts}


def test_dimensions_are_found_out_by_the_first_answer(endpoint: Make) -> None:
    with embedding_server(vectors(5)) as server:
        embedder = endpoint(server.url)

        assert embedder.dimensions == 5
        assert embedder.dimensions == 5
    assert len(server.asked) == 1
    assert "authorization" not in server.asked[0].headers


def test_dimensions_that_are_given_are_asked_for(endpoint: Make) -> None:
    with embedding_server(vectors(5)) as server:
        embedder = endpoint(server.url, dimensions=4)

        assert len(embedder.embed(["text"])[0]) == 4 * 4
    assert server.asked[0].body["dimensions"] == 4
    assert embedder.model == "m/4"


def test_a_bulk_is_cut_by_count_and_by_bytes(endpoint: Make) -> None:
    texts = [f"t{place}" for place in range(130)] + ["ü" * 8_000] * 20
    with embedding_server(vectors()) as server:
        found = endpoint(server.url).embed(texts)

    assert found == [packed(vector_of(text)) for text in texts]
    inputs = [asked.body["input"] for asked in server.asked]
    assert max(len(batch) for batch in inputs) == 64
    assert all(sum(len(text.encode()) for text in batch) <= 200_000 for batch in inputs)
    assert len(inputs) > 3


def test_a_text_is_cut_to_what_models_take(endpoint: Make) -> None:
    with embedding_server(vectors()) as server:
        endpoint(server.url).embed(["x" * 100_000])

    assert len(server.asked[0].body["input"][0]) == 8_000


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_or_failing_server_is_asked_again(endpoint: Make, status: int) -> None:
    with embedding_server(in_turn(plainly(status, b"later"), plainly(status, b"later"), vectors())) as server:
        found = endpoint(server.url).embed(["alpha"])

    assert found == [packed(vector_of("alpha"))]
    assert len(server.asked) == 3


def test_a_server_that_keeps_failing_is_given_up(endpoint: Make) -> None:
    with embedding_server(plainly(500, b"oh")) as server:
        embedder = endpoint(server.url)

        with pytest.raises(UnavailableError, match=r"in 3 tries .* it answered 500") as caught:
            embedder.embed(["alpha"])
    assert caught.value.code == "embedder.unavailable"
    assert len(server.asked) == 3


def test_a_pause_that_would_take_too_long_is_not_made(endpoint: Make) -> None:
    answer = plainly(429, b"", Retry_After="3600")
    with embedding_server(answer) as server, pytest.raises(UnavailableError, match="in 1 tries"):
        endpoint(server.url).embed(["alpha"])
    assert len(server.asked) == 1


def hanging(handler: object, server: EmbeddingServer, asked: Asked) -> None:
    server.release.wait(30)


def dripping(handler, server: EmbeddingServer, asked: Asked) -> None:
    """Never silent for long, never done."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not server.release.wait(0.02):
        handler.wfile.write(b" ")
        handler.wfile.flush()


@pytest.mark.parametrize("answer", [hanging, dripping])
def test_a_server_that_never_finishes_is_given_up(endpoint: Make, answer: Answer) -> None:
    with embedding_server(answer) as server:
        with pytest.raises(UnavailableError, match="in time") as caught:
            endpoint(server.url, patience=Patience(total_s=0.5, tries=3, pause_s=0.01)).embed(["alpha"])
        assert caught.value.code == "embedder.unavailable"


def test_a_server_that_is_not_there_is_named(endpoint: Make) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"

        with pytest.raises(UnavailableError, match="ConnectError") as caught:
            endpoint(url).embed(["alpha"])
    assert url in caught.value.message


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (plainly(200, b"<html>not me</html>"), "not JSON"),
        (plainly(200, b"[" * 100_000), "not JSON"),
        (plainly(200, b"[]"), "no object"),
        (rows(), "no list `data` of 1"),
        (rows(one([1.0]), one([1.0], 1)), "no list `data` of 1"),
        (rows("text"), "without a list `embedding`"),
        (rows(one("AAAA")), "without a list `embedding`"),
        (rows(one([])), "without a list `embedding`"),
        (rows(one([1.0] * 4097)), "without a list `embedding`"),
        (rows(one([1.0, None])), "no number"),
        (rows(one([1.0, True])), "no number"),
        (rows(one([1.0, "2"])), "no number"),
        (rows(one([1.0], 1)), "`index` 1"),
        (rows(one([1.0], None)), "`index` None"),
        (rows(one([0.0, 0.0])), "without a direction"),
        (plainly(200, b'{"data": [{"index": 0, "embedding": [NaN, 1]}]}'), "without a direction"),
        (plainly(200, b'{"data": [{"index": 0, "embedding": [1e999, 1]}]}'), "without a direction"),
        (plainly(200, b'{"data": [{"index": 0, "embedding": [1' + b"0" * 400 + b"]}]}"), "too large"),
        (plainly(200, b" " * 33_000_000), "more than 32,000,000 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nonsense_is_refused_at_once(endpoint: Make, answer: Answer, said: str) -> None:
    with embedding_server(answer) as server, pytest.raises(RefusedError, match="answered with") as caught:
        endpoint(server.url).embed(["alpha"])

    assert caught.value.code == "embedder.answer_invalid"
    assert said in caught.value.message
    assert len(server.asked) == 1


def test_vectors_of_another_dimension_than_before_are_refused(endpoint: Make) -> None:
    with embedding_server(in_turn(vectors(3), vectors(4))) as server:
        embedder = endpoint(server.url)
        embedder.embed(["alpha"])

        with pytest.raises(RefusedError, match="a vector of 4 numbers where 3 were expected") as caught:
            embedder.embed(["beta"])
    assert caught.value.code == "embedder.answer_invalid"


@pytest.mark.parametrize("status", [302, 400, 401, 404, 413])
def test_a_refusal_is_not_tried_again_and_its_words_are_shown(endpoint: Make, status: int) -> None:
    answer = plainly(
        status, b'{"error": "no such\n model"}' + b"x" * 1_000_000, Location="http://127.0.0.1:9/elsewhere"
    )
    said = f"refused with {status}: .*no such model"
    with embedding_server(answer) as server, pytest.raises(RefusedError, match=said) as caught:
        endpoint(server.url, key="sk-secret").embed(["alpha"])

    assert caught.value.code == "embedder.refused"
    assert "sk-secret" not in caught.value.message
    assert len(caught.value.message) < 600
    assert len(server.asked) == 1


def test_a_connection_that_breaks_is_tried_again(endpoint: Make) -> None:
    def broken(handler, server: EmbeddingServer, asked: Asked) -> None:
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True

    with embedding_server(in_turn(broken, vectors())) as server:
        found = endpoint(server.url).embed(["alpha"])

    assert found == [packed(vector_of("alpha"))]
    assert len(server.asked) == 2


def test_a_blank_text_does_not_reach_the_server(endpoint: Make) -> None:
    with embedding_server(vectors()) as server, pytest.raises(InvalidError):
        endpoint(server.url).embed(["alpha", " "])

    assert server.asked == []


def test_half_a_surrogate_pair_does_not_stop_the_texts_beside_it(endpoint: Make) -> None:
    with embedding_server(vectors()) as server:
        found = endpoint(server.url).embed(["alpha", "cut \ud83d"])

    assert len(found) == 2
    assert server.asked[0].body["input"] == ["alpha", "cut ?"]
