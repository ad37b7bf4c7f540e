"""Layouts and bad input, on texts written for these tests."""

from __future__ import annotations

from datetime import date

import pytest

from latewood.graph_schema.model import DecisionStatus
from latewood.ingestion.records import LinkKind, RecordLink, parse_bytes, parse_record

NYGARD = """\
# 7. Store trips in Postgres

Date: 2021-03-04

## Status

Accepted

Supersedes [3. Store trips in files](0003-store-trips-in-files.md)

Amended by [9. Partition trips](0009-partition-trips.md)

## Context

Trips arrive faster than files can be merged. See the [load test](https://example.org/load).

## Decision

We will store trips in Postgres. We do so because two writers lost rows last week.

## Alternatives

- **Keep files**: merging takes an hour.
- **A queue in front** - one more thing to run.

## Consequences

One more server.
"""

MADR_4 = """\
---
status: "superseded by [ADR-0031](0031-use-kafka.md)"
date: 2022-01-09
decision-makers: [Ada, Grace]
consulted: Edsger
tags: [queue, trips]
---

# Use Redis streams

<!-- This is an optional element. -->

## Context and Problem Statement

Which queue do we use?

## Decision Drivers

* cost

## Considered Options

* Redis streams
* RabbitMQ
* Kafka

## Decision Outcome

Chosen option: "Redis streams", because it runs already.

### Consequences

* Good, because nothing new is run
* Bad, because memory is dear

### Confirmation

A load test.

## Pros and Cons of the Options

### Redis streams

* Good, because it runs already

### RabbitMQ

* Good, because it is known
* Bad, because it is one more thing to run
* Bad, because clustering
  is hard

### Kafka

* Bad, because it needs three machines

## More Information

* Relates to [ADR-0011](0011-events.md)

Revisit in a year.
"""

MADR_2 = """\
# [Use plain JUnit]

* Status: accepted
* Deciders: Ada, Grace
* Date: 2019-10-02

Technical Story: T-12

## Context and Problem Statement

How to write readable tests?

## Considered Options

* Plain JUnit
* Hamcrest: own language

## Decision Outcome

Chosen option: Plain JUnit, because everybody knows it.

### Positive Consequences

* fewer words

### Negative Consequences

* no matchers

## Links

* [Refines](http://example.org/x) nothing
* Supersedes [ADR-0002](0002-hamcrest.md)
"""


def codes(text: str, path: str = "0001-x.md") -> list[str]:
    return [problem.code for problem in parse_record(text, path=path).problems]


def test_a_nygard_record_is_read_whole() -> None:
    record = parse_record(NYGARD, path="0007-store-trips-in-postgres.md")

    assert (record.number, record.title) == (7, "Store trips in Postgres")
    assert (record.status, record.status_raw) == (DecisionStatus.ACCEPTED, "Accepted")
    assert record.date == date(2021, 3, 4)
    assert record.context is not None
    assert record.context.startswith("Trips arrive")
    assert record.rationale == "We do so because two writers lost rows last week."
    assert record.consequences == "One more server."
    assert [(one.title, one.rejected_because) for one in record.alternatives] == [
        ("Keep files", "merging takes an hour."),
        ("A queue in front", "one more thing to run."),
    ]
    assert record.links == (
        RecordLink(LinkKind.SUPERSEDES, 3, "0003-store-trips-in-files.md", "3. Store trips in files"),
        RecordLink(LinkKind.AMENDED_BY, 9, "0009-partition-trips.md", "9. Partition trips"),
    )
    assert [link.line for link in record.links] == [9, 11]
    assert [one.target for one in record.evidence] == ["https://example.org/load"]
    assert record.problems == ()
    assert record.others == ()


def test_a_madr_4_record_with_frontmatter_is_read_whole() -> None:
    record = parse_record(MADR_4, path="decisions/0012-use-redis-streams.md")

    assert (record.number, record.title, record.date) == (12, "Use Redis streams", date(2022, 1, 9))
    assert record.status is DecisionStatus.SUPERSEDED
    assert record.deciders == ("Ada", "Grace")
    assert record.consulted == ("Edsger",)
    assert record.metadata == (("tags", "queue, trips"),)
    assert record.choice == "Redis streams"
    assert record.rationale == "it runs already."
    assert [(one.title, one.chosen, one.rejected_because) for one in record.options] == [
        ("Redis streams", True, None),
        ("RabbitMQ", False, "it is one more thing to run; clustering is hard"),
        ("Kafka", False, "it needs three machines"),
    ]
    assert record.options[1].description == "* Good, because it is known"
    assert [(link.kind, link.number) for link in record.links] == [
        (LinkKind.SUPERSEDED_BY, 31),
        (LinkKind.RELATED, 11),
    ]
    assert record.consequences is not None
    assert "memory is dear" in record.consequences
    assert {one.title: one.text for one in record.others} == {
        "Decision Drivers": "* cost",
        "Confirmation": "A load test.",
        "More Information": "Revisit in a year.",
    }
    assert "optional element" not in str(record)
    assert record.problems == ()


def test_a_madr_2_record_with_header_bullets_is_read_whole() -> None:
    record = parse_record(MADR_2, path="0005-use-plain-junit.md")

    assert record.title == "Use plain JUnit"
    assert (record.status, record.date, record.deciders) == (
        DecisionStatus.ACCEPTED,
        date(2019, 10, 2),
        ("Ada", "Grace"),
    )
    assert record.rationale == "everybody knows it."
    assert [(one.title, one.chosen) for one in record.options] == [("Plain JUnit", True), ("Hamcrest", False)]
    assert record.options[1].description == "own language"
    assert [(link.kind, link.number) for link in record.links] == [(LinkKind.SUPERSEDES, 2)]
    assert "Positive Consequences" in (record.consequences or "")
    assert "no matchers" in (record.consequences or "")
    assert [one.text for one in record.others] == [
        "Technical Story: T-12",
        "* [Refines](http://example.org/x) nothing",
    ]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ("Accepted", "accepted"),
        ("**Approved** on 2020-01-01", "accepted"),
        ("✅ Done", "accepted"),
        ("Implemented", "accepted"),
        ("Draft", "proposed"),
        ("🤔 Proposal", "proposed"),
        ("Pending", "proposed"),
        ("In progress", "proposed"),
        (":thinking_face: Proposed", "proposed"),
        ("Superceded by #12", "superseded"),  # codespell:ignore
        ("Replaced by ADR 7", "superseded"),
        ("⌛️ Superseded by [9](0009-x.md)", "superseded"),
        ("❌ Rejected (see [019](019-x.md))", "rejected"),
        ("On hold", "deferred"),
        ("Abandoned", "withdrawn"),
        ("Reverted", "reversed"),
        ("Retired", "deprecated"),
        ("✅", "accepted"),
        ("⛔", "rejected"),
        ("❓", "proposed"),
        ("~~Proposed~~ Accepted", "accepted"),
        ("- [ ] Proposed\n- [x] Rejected", "rejected"),
        ("2020-01-01 proposed\n2020-03-01 accepted", "accepted"),
        ("Accepted\n\nSuperseded by [9](0009-x.md)", "superseded"),
        ("Accepted, amended by ADR 4", "accepted"),
        ("Partially superseded by ADR 4", "accepted"),
        ("Accepted\n\nReplaced servers are sold next year.", "accepted"),
        ("Not yet accepted", "proposed"),
        ("Accpeted", "accepted"),  # codespell:ignore
    ],
)
def test_the_words_of_a_status_come_to_one_of_eight(raw: str, status: str) -> None:
    record = parse_record(f"# X\n\n## Status\n\n{raw}\n\n## Context\n\nc\n", path="0001-x.md")

    assert record.status == status


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("", "status.missing"),
        ("Blue", "status.unreadable"),
        ("Proposed | Accepted | Superseded by ADR 1", "status.template"),
        ("Accepted\n\nDeprecated", "status.several"),
        ("❌ Accepted", "status.disagrees"),
        ("Accpeted", "status.guessed"),  # codespell:ignore
        ("Partly superseded by #3", "status.partial"),
    ],
)
def test_an_odd_status_is_a_problem_and_no_silence(raw: str, code: str) -> None:
    found = codes(f"# X\n\n## Status\n\n{raw}\n\n## Context\n\nc\n")

    assert code in found


@pytest.mark.parametrize(
    ("written", "links"),
    [
        (
            "Superseded by [ADR031](ADR031-a.md) and [ADR034](ADR034-b.md)",
            [("superseded_by", 31), ("superseded_by", 34)],
        ),
        ("Superseded by [ADR031] and [ADR034]", [("superseded_by", 31), ("superseded_by", 34)]),
        ("Superseded by 31, 34 and 40", [("superseded_by", 31), ("superseded_by", 34), ("superseded_by", 40)]),
        ("Replaces #12", [("supersedes", 12)]),
        ("Accepted. Supersedes 0012-old.md, amends ADR-0013", [("supersedes", 12), ("amends", 13)]),
        ("Superseded by\n[the new one](./0044-new.md)", [("superseded_by", 44)]),
        ("Partially superseded by ADR 4", [("amended_by", 4)]),
        ("Superseded on 2020-01-01 by ADR 9", [("superseded_by", 9)]),
    ],
)
def test_links_of_a_status_are_claims(written: str, links: list[tuple[str, int]]) -> None:
    record = parse_record(f"# X\n\n## Status\n\n{written}\n\n## Context\n\nc\n", path="0001-x.md")

    assert [(link.kind.value, link.number) for link in record.links] == links


def test_frontmatter_keys_name_relations() -> None:
    text = "---\nstatus: accepted\nsupersedes: [3, 0004-x.md]\nsuperseded_by: ADR-9\n---\n# X\n"

    record = parse_record(text, path="0005-x.md")

    assert [(link.kind.value, link.number) for link in record.links] == [
        ("supersedes", 3),
        ("supersedes", 4),
        ("superseded_by", 9),
    ]


def test_reference_links_are_followed_and_code_is_not() -> None:
    text = "# X\n\n## Status\n\nSuperseded by [the next one][next]\n\n## Context\n\n`[no](no.md)`\n\n```\n[no](no.md)\n# no\n```\n\n[next]: 0009-next.md\n"

    record = parse_record(text, path="0001-x.md")

    assert [(link.number, link.file) for link in record.links] == [(9, "0009-next.md")]
    assert [one.target for one in record.references] == ["0009-next.md"]
    assert record.definitions == (("next", "0009-next.md"),)


@pytest.mark.parametrize(
    ("path", "heading", "number", "title", "problems"),
    [
        ("ADR012-tools.md", "ADR012: Tools", 12, "Tools", []),
        ("012-tools.md", "12 Tools", 12, "Tools", []),
        ("012-tools.md", "3 ways to work", 12, "3 ways to work", ["number.mismatch"]),
        ("030-roots.md", "29. Audits", 30, "Audits", ["number.mismatch"]),
        ("tools.md", "ADR-0007: Tools", 7, "Tools", []),
        ("tools.md", "3 ways to work", None, "3 ways to work", []),
        ("2020-01-02-tools.md", "Tools", None, "Tools", []),
        ("0004-no-title.md", "", 4, "no title", ["title.missing"]),
    ],
)
def test_number_and_title_come_apart(path: str, heading: str, number: int, title: str, problems: list[str]) -> None:
    record = parse_record(f"# {heading}\n\nStatus: accepted\n", path=path)

    assert (record.number, record.title) == (number, title)
    assert [problem.code for problem in record.problems] == problems


@pytest.mark.parametrize(
    ("written", "day_first", "near", "day", "code"),
    [
        ("2019-05-01", None, None, date(2019, 5, 1), None),
        ("20190501", None, None, date(2019, 5, 1), None),
        ("2019-05-01T10:00:00Z", None, None, date(2019, 5, 1), None),
        ("1st of May 2019", None, None, date(2019, 5, 1), None),
        ("May 1, 2019", None, None, date(2019, 5, 1), None),
        ("May 2019", None, None, date(2019, 5, 1), "date.month_only"),
        ("26/03/2018", None, None, date(2018, 3, 26), None),
        ("03/26/2018", None, None, date(2018, 3, 26), None),
        ("10/04/18", True, None, date(2018, 4, 10), "date.inferred"),
        ("10/04/18", False, None, date(2018, 10, 4), "date.inferred"),
        ("10/04/2018", None, date(2018, 4, 12), date(2018, 4, 10), "date.inferred"),
        ("10/04/2018", None, date(2018, 10, 9), date(2018, 10, 4), "date.inferred"),
        ("10/04/2018", None, None, None, "date.ambiguous"),
        ("10.04.2018", None, None, date(2018, 4, 10), "date.inferred"),
        ("05/05/2018", None, None, date(2018, 5, 5), None),
        ("2019-13-45", None, None, None, "date.unreadable"),
        ("soon", None, None, None, "date.unreadable"),
    ],
)
def test_a_date_is_read_or_left_out_with_a_reason(
    written: str, day_first: bool | None, near: date | None, day: date | None, code: str | None
) -> None:
    record = parse_record(
        f"# X\n\nDate: {written}\n\nStatus: accepted\n", path="0001-x.md", day_first=day_first, near=near
    )

    assert record.date == day
    assert record.date_raw == written
    assert [problem.code for problem in record.problems] == ([code] if code else [])


def test_broken_frontmatter_is_read_line_by_line() -> None:
    record = parse_record("---\nstatus: accepted\ndeciders: @ada\nbad: [unclosed\n---\n# X\n", path="0001-x.md")

    assert record.status is DecisionStatus.ACCEPTED
    assert record.deciders == ("@ada",)
    assert [problem.code for problem in record.problems] == ["frontmatter.broken"]
    assert record.problems[0].line > 1


def test_yaml_aliases_do_not_unfold() -> None:
    layers = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]" for n in range(9))

    found = codes(f"---\n{layers}\nstatus: accepted\n---\n# X\n")

    assert found == ["frontmatter.broken"]


def test_a_fence_and_a_comment_that_never_end_hide_nothing() -> None:
    text = "# X\n\n## Status\n\nAccepted\n\n## Context\n\n```\ncode\n\n<!-- note\n\n## Decision\n\nWe do it.\n"

    record = parse_record(text, path="0001-x.md")

    assert record.choice == "We do it."
    assert {problem.code for problem in record.problems} == {"markdown.unclosed_fence", "markdown.unclosed_comment"}


def test_sections_that_nobody_knows_are_kept() -> None:
    text = "# X\n\nA word before.\n\nStatus: accepted\n\n## Costs\n\n5 EUR\n\n## Context\n\na\n\n## Context\n\nb\n"

    record = parse_record(text, path="0001-x.md")

    assert [(one.title, one.text) for one in record.others] == [
        ("", "A word before."),
        ("Costs", "5 EUR"),
        ("Context", "b"),
    ]
    assert [problem.code for problem in record.problems] == ["section.repeated"]


def test_bytes_that_are_no_text_are_a_problem_with_their_line() -> None:
    record = parse_bytes(b"# X\n\nStatus: accepted\n\n\xff\xfe\n", path="0001-x.md")

    assert record.status is DecisionStatus.ACCEPTED
    assert [(problem.code, problem.line) for problem in record.problems] == [("record.not_text", 5)]


def test_a_huge_record_is_cut_with_a_problem_and_in_time() -> None:
    for unit in ("[", "`", "<!--", "# a\n", "* **a** - b\n", "](", "superseded by ", "1/2/3 ", "---\n"):
        record = parse_record("# X\n\nStatus: accepted\n\n" + unit * 300_000, path="0001-x.md")

        assert "record.too_long" in [problem.code for problem in record.problems]


def test_underlined_headings_and_windows_line_ends_are_read() -> None:
    record = parse_record("Tools\r\n=====\r\n\r\nStatus\r\n------\r\n\r\nAccepted\r\n", path="0001-x.md")

    assert (record.title, record.status) == ("Tools", DecisionStatus.ACCEPTED)
