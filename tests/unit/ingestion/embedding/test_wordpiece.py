"""The numbers in these tests are those that the tokenizer published with the model gives."""

from __future__ import annotations

import pytest

from latewood.ingestion.embedding.wordpiece import TOKENS_MAX, WordPiece


@pytest.fixture(scope="module")
def words() -> WordPiece:
    return WordPiece()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We chose Postgres over Kafka.", [101, 2057, 4900, 2695, 17603, 2015, 2058, 10556, 24316, 2050, 1012, 102]),
        ("unaffable re-platforming", [101, 14477, 20961, 3468, 2128, 1011, 4132, 2075, 102]),
        ("Caf\u00e9 na\u00efve \u00c5ngstr\u00f6m", [101, 7668, 15743, 17076, 15687, 102]),
        ("\u65e5\u672c\u8a9e and \u4e2d\u6587", [101, 1864, 1876, 1950, 1998, 1746, 1861, 102]),
        ("don't  panic\t(really)\nnow", [101, 2123, 1005, 1056, 6634, 1006, 2428, 1007, 2085, 102]),
        ("x\u0000y\ufffdz\u200b!", [101, 1060, 2100, 2480, 999, 102]),
        (
            "\u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3 \u03a3",
            [101, 1169, 29722, 29735, 29733, 29733, 29723, 29735, 29733, 1173, 102],
        ),
        (
            "$5.00 < 3\u20ac \u2013 \u201cquoted\u201d",
            [101, 1002, 1019, 1012, 4002, 1026, 1017, 30102, 1516, 1523, 9339, 1524, 102],
        ),
        ("12:30 on 2026-05-03", [101, 2260, 1024, 2382, 2006, 16798, 2575, 1011, 5709, 1011, 6021, 102]),
        ("emoji \U0001f44d ok", [101, 7861, 29147, 2072, 100, 7929, 102]),
        ("\ufb01ne \uff21\uff22\uff23", [101, 1984, 2638, 100, 102]),
        ("a\u00a0b\u2003c", [101, 1037, 1038, 1039, 102]),
    ],
)
def test_texts_come_out_as_the_published_tokenizer_has_them(words: WordPiece, text: str, expected: list[int]) -> None:
    assert words.encode(text) == expected


def test_a_word_that_is_too_long_or_has_unknown_signs_is_unknown_as_a_whole(words: WordPiece) -> None:
    assert words.encode("a" * 101) == [101, 100, 102]
    assert words.encode("ab\U0001f9ff") == [101, 100, 102]


def test_what_is_past_the_limit_is_left_out_and_the_end_is_marked(words: WordPiece) -> None:
    whole = words.encode("word " * (TOKENS_MAX - 2))
    longer = words.encode("word " * 5_000)

    assert len(whole) == TOKENS_MAX
    assert longer == whole
    assert longer[-1] == 102


def test_marks_of_the_model_in_a_text_are_words_like_others(words: WordPiece) -> None:
    assert 102 not in words.encode("a [SEP] b")[:-1]
    assert 101 not in words.encode("[CLS]")[1:]
