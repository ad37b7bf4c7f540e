"""What is written as MADR reads back as itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from latewood.graph_schema.model import DecisionStatus
from latewood.ingestion.records import (
    LinkKind,
    ParsedOption,
    ParsedRecord,
    RecordLink,
    Section,
    link_report,
    madr_name,
    parse_record,
    to_madr,
    with_both_sides,
)

NAMES = ("Amber", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Ginkgo", "Hazel")
WORDS = st.lists(
    st.sampled_from(("slow", "fast", "cheap", "two nodes", "é", "100 %", "a_b", "x*y", "<tag>", "#5")),
    min_size=1,
    max_size=5,
).map(" ".join)
SENTENCE = WORDS.map(lambda words: f"Says {words}.")
TEXT = st.lists(
    st.one_of(SENTENCE, SENTENCE.map(lambda one: f"* {one}\n* b"), SENTENCE.map(lambda one: f"### Part\n\n{one}"),
              SENTENCE.map(lambda one: f"```\n# {one}\n```")),
    min_size=1, max_size=3,
).map("\n\n".join)  # fmt: skip
CHOICE = st.lists(SENTENCE, min_size=1, max_size=2).map("\n\n".join)


@st.composite
def options(draw: st.DrawFn) -> tuple[ParsedOption, ...]:
    names = draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True))
    chosen = draw(st.sampled_from([None, *range(len(names))]))
    return tuple(
        ParsedOption(name, draw(st.none() | WORDS), draw(st.none() | SENTENCE), n == chosen)
        for n, name in enumerate(names)
    )


@st.composite
def records(draw: st.DrawFn) -> ParsedRecord:
    status = draw(st.none() | st.sampled_from(DecisionStatus))
    links = draw(st.sets(st.tuples(st.sampled_from(LinkKind), st.integers(1, 30), st.booleans()), max_size=4))
    unique = {
        (kind, number): RecordLink(kind, number, f"{number:04d}-x y.md" if file else None, f"ADR {number}")
        for kind, number, file in links
    }
    day = draw(st.none() | st.dates())
    order = list(LinkKind)
    found = draw(options())
    choice = draw(st.none() | CHOICE)
    chosen = next((one for one in found if one.chosen), None)
    number = draw(st.integers(0, 9999))
    return ParsedRecord(
        path=f"{number:04d}-some-name.md", number=number,
        title=draw(st.sampled_from(("Use tools", "3 ways to work", "Ask: then act", "été", "ADR 5", "2. Second", "C# or F#"))),
        status=status, status_raw=None if status is None else status.value,
        date=day, date_raw=None if day is None else day.isoformat(),
        deciders=tuple(draw(st.lists(st.sampled_from(("Ada", "Grace Hopper", "yes", "12")), max_size=3, unique=True))),
        context=draw(st.none() | TEXT),
        choice=choice if choice is not None else (chosen.title if chosen else None),
        rationale=draw(st.none() | TEXT), consequences=draw(st.none() | TEXT), options=found,
        links=tuple(sorted(unique.values(), key=lambda one: (order.index(one.kind), one.number or 0))),
        metadata=tuple(draw(st.dictionaries(st.sampled_from(("tags", "team")), WORDS, max_size=2)).items()),
        others=tuple(Section(title, draw(TEXT)) for title in draw(st.lists(st.sampled_from(("Costs", "Decision Drivers", "Notes")), max_size=2, unique=True))),
    )  # fmt: skip


@given(records())
def test_a_record_reads_back_as_itself(record: ParsedRecord) -> None:
    back = parse_record(to_madr(record), path=record.path)

    # The links of the file are found in its words; a record made by hand need not list them.
    assert replace(back, references=(), problems=()) == record


@given(st.text(max_size=200), st.text(max_size=60), st.text(max_size=200))
def test_any_words_are_contained(text: str, title: str, other: str) -> None:
    record = ParsedRecord(
        "0001-x.md", title, 1, DecisionStatus.ACCEPTED, context=text, choice=other, consequences=text,
        options=(ParsedOption(title, other, text), ParsedOption("Elm", chosen=True)), others=(Section(title, text),),
    )  # fmt: skip

    once = parse_record(to_madr(record), path="0001-x.md")

    assert (once.number, once.status) == (1, DecisionStatus.ACCEPTED)


def test_both_sides_of_a_one_sided_link_are_written_with_the_right_file() -> None:
    old = parse_record(
        "# Old\n\n## Status\n\nSuperseded by [ADR2](0002-gone.md)\n\n## Context\n\nc\n", path="0001-old.md"
    )
    new = parse_record("# New\n\n## Status\n\nAccepted\n\n## Context\n\nc\n", path="0002-new.md")
    report = link_report([old, new])

    both = with_both_sides([old, new], report.edges, report.keys)
    texts = {record.path: to_madr(record) for record in both}
    again = [parse_record(text, path=path) for path, text in texts.items()]

    assert "superseded by [adr 2](0002-new.md)" in texts["0001-old.md"].lower()
    assert "* Supersedes [ADR 1](0001-old.md)" in texts["0002-new.md"]
    assert again == [replace(one, references=two.references) for one, two in zip(both, again, strict=True)]
    report = link_report(again)
    assert (report.one_sided, report.dead_links) == ((), ())
    assert [edge.sides for edge in report.edges] == [{"successor", "predecessor"}]


def test_a_status_that_no_longer_says_so_is_written_as_the_word() -> None:
    record = ParsedRecord("0001-x.md", "X", 1, DecisionStatus.REVERSED, "✅ Accepted", date(2020, 1, 2))

    assert parse_record(to_madr(record), path="0001-x.md").status is DecisionStatus.REVERSED


def test_what_was_rejected_is_never_read_back_as_chosen() -> None:
    record = parse_record(
        "# X\n\nStatus: accepted\n\n## Decision\n\nWe take Elm.\n\n## Rejected\n\n- **Elm**: no.\n", path="0001-x.md"
    )

    back = parse_record(to_madr(record), path="0001-x.md")

    assert back.options == record.options == (ParsedOption("Elm", "no."),)


def test_file_names_are_plain() -> None:
    assert madr_name(12, "Use `Postgres` & more!") == "0012-use-postgres-more.md"
    assert madr_name(None, "…") == "record.md"
