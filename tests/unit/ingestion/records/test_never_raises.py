"""No text and no bytes make the parser raise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from latewood.ingestion.records import PROBLEM_CODES, parse_bytes, parse_record

WORDS = st.sampled_from(
    [
        "# ",
        "## ",
        "### ",
        "Status",
        "Accepted",
        "superseded by",
        "[a](b.md)",
        "[a]",
        "ADR-12",
        "#3",
        "31",
        "\n",
        "\n\n",
        "---",
        "---\n",
        "```",
        "<!--",
        "-->",
        "* ",
        "- ",
        "**",
        ": ",
        "because ",
        "Chosen option:",
        '"',
        "Good, because",
        "Bad, because",
        "Date: 04/05/2019",
        "Considered Options",
        "Rejected",
        "Context",
        "Decision",
        "Consequences",
        "Pros and Cons of the Options",
        "Links",
        "{",
        "}",
        "✅",
        "é",
        "\t",
        "\\",
        "`",
        "~~",
        "=====",
        "&a",
        "*a",
        "\x00",
        "\ufeff",
        "status: ",
    ]
)


@given(st.one_of(st.text(max_size=300), st.lists(WORDS, max_size=60).map("".join)))
def test_no_text_makes_it_raise(text: str) -> None:
    record = parse_record(text, path="adr/0001-x.md")

    assert record.number == 1
    assert {problem.code for problem in record.problems} <= set(PROBLEM_CODES)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    record = parse_bytes(data, path="x.md")

    assert record.path == "x.md"
