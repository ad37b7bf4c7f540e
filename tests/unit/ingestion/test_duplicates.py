"""Which names look alike, and that finding them does not compare all with all."""

from __future__ import annotations

import pytest

from latewood.ingestion import duplicates
from latewood.ingestion.duplicates import Named, candidates, same_numbers


def pairs(*names: str, type_: str = "carrier") -> list[tuple[str, str, str]]:
    things = [Named(name, type_, (name,)) for name in names]
    return [(one.one, one.other, one.signal) for one in candidates(things)]


@pytest.mark.parametrize(
    ("one", "other", "signal"),
    [
        ("ACME Inc.", "acme, inc", "name"),
        ("Café Noir", "CAFE NOIR", "name"),
        ("ACME Inc.", "Acme", "words"),
        ("Acme Freight Lines Ltd", "Freight Lines Acme", "words"),
        ("Lufthansa Cargo", "Lufthansa Cargoo", "letters"),
        ("billing-service", "billling_service", "letters"),
    ],
)
def test_names_that_look_alike_are_found(one: str, other: str, signal: str) -> None:
    assert pairs(one, other, "Something Else") == [(one, other, signal)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("lane 12", "lane 13"),
        ("Nordic Freight", "Baltic Rail"),
        ("GmbH Meyer", "GmbH Schulz"),
        ("a", "b"),
        ("ab", "ac"),
    ],
)
def test_names_that_mean_two_are_left(one: str, other: str) -> None:
    assert pairs(one, other) == []


def test_only_things_of_one_type_are_compared() -> None:
    things = [Named("1", "carrier", ("acme",)), Named("2", "product", ("acme",))]
    assert candidates(things) == []


def test_a_second_name_counts() -> None:
    things = [Named("1", "carrier", ("c-17", "Acme Freight")), Named("2", "carrier", ("acme-freight",))]
    assert [(one.one, one.other, one.signal) for one in candidates(things)] == [("1", "2", "name")]


def test_the_same_numbers_in_any_order_are_the_same() -> None:
    assert same_numbers("A 1 2", "2 b 1")
    assert not same_numbers("A 1", "A")


def test_the_surest_come_first_and_a_pair_once() -> None:
    found = pairs("Acme Freight", "acme freight", "Acme Freight Ltd")
    assert [signal for *_, signal in found] == ["name", "words", "words"]
    assert len({frozenset(pair[:2]) for pair in found}) == 3


def test_what_many_share_brings_nobody_together(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0
    overlap = duplicates._overlap  # pyright: ignore[reportPrivateUsage]

    def counted(one: frozenset[str], other: frozenset[str]) -> float:
        nonlocal compared
        compared += 1
        return overlap(one, other)

    monkeypatch.setattr(duplicates, "_overlap", counted)
    names = [f"service {chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676)}x" for n in range(2_000)]
    assert pairs(*names, "service aaax.") == [("service aaax", "service aaax.", "name")]
    assert compared < 10 * len(names)
