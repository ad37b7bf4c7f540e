"""How the lists of the signals become one order."""

from __future__ import annotations

import random

import pytest

from latewood.reasoning.fusion import WEIGHTS, Candidate, Fusion, Signal, relative_to_best, relative_to_last
from latewood.reasoning.querywords import WORDS_MAX, content_words
from latewood.storage.port import Match


def match(fact: str, score: float, subject: str = "s", valid_from: int = 0) -> Match:
    return Match(fact, subject, score, valid_from)


def test_words_are_parts_of_the_best_and_vectors_lie_between_last_and_best() -> None:
    words = [match("a", 8.0), match("b", 6.0), match("c", 2.0)]
    assert relative_to_best(words) == [1.0, 0.75, 0.25]
    assert relative_to_last([match("a", 0.75), match("b", 0.625), match("c", 0.5)]) == [1.0, 0.5, 0.0]


@pytest.mark.parametrize("relative", [relative_to_best, relative_to_last])
def test_equal_scores_are_all_the_best(relative: object) -> None:
    assert callable(relative)
    assert relative([match("a", 0.4), match("b", 0.4)]) == [1.0, 1.0]
    assert relative([]) == []


def test_a_score_of_nothing_is_no_division_by_zero() -> None:
    assert relative_to_best([match("a", 0.0)]) == [1.0]


def test_what_two_signals_find_comes_before_what_one_finds() -> None:
    fusion = Fusion()
    fusion.rank(Signal.WORDS, [match("a", 3.0), match("both", 2.5)])
    fusion.rank(Signal.VECTORS, [match("v", 0.9), match("both", 0.8), match("last", 0.2)])
    assert [one.fact for one in fusion.best(2)] == ["both", "a"]
    assert fusion.found["both"].clues[Signal.WORDS].rank == 2
    assert fusion.found["both"].clues[Signal.VECTORS].score == 0.8


def test_the_shares_of_the_clues_are_the_score() -> None:
    chance = random.Random(7)
    fusion = Fusion()
    ids = [f"f{n}" for n in range(50)]
    fusion.rank(Signal.WORDS, sorted((match(one, chance.random()) for one in ids), key=lambda one: -one.score))
    seeds = fusion.best(10)
    scores = {one.fact: one.score for one in seeds}
    fusion.spread(Signal.NEIGHBOUR, scores, [(via, match(chance.choice(ids), 0.5)) for via in scores])
    fusion.lift_subjects(seeds)
    for one in fusion.found.values():
        assert one.score == pytest.approx(sum(clue.share for clue in one.clues.values()))
        assert all(clue.share >= 0 for clue in one.clues.values())


def test_a_neighbour_gets_a_share_of_the_strongest_only_and_nobody_gets_one_of_himself() -> None:
    fusion = Fusion()
    fusion.rank(Signal.WORDS, [match("a", 4.0), match("b", 2.0)])
    scores = {"a": 1.0, "b": 0.5}
    fusion.spread(Signal.NEIGHBOUR, scores, [("a", match("n", 0.5)), ("b", match("n", 1.0)), ("a", match("a", 1.0))])
    clue = fusion.found["n"].clues[Signal.NEIGHBOUR]
    assert clue.share == WEIGHTS[Signal.NEIGHBOUR] * 0.5
    assert clue.via == "a"
    assert Signal.NEIGHBOUR not in fusion.found["a"].clues


def test_a_subject_is_lifted_by_its_best_and_others_are_not() -> None:
    fusion = Fusion()
    fusion.rank(Signal.WORDS, [match("a", 4.0, "one"), match("b", 1.0, "one"), match("c", 1.0, "two")])
    fusion.lift_subjects(fusion.best(1))
    assert fusion.found["b"].score > fusion.found["c"].score
    assert Signal.SUBJECT not in fusion.found["c"].clues


def test_of_equals_the_latest_comes_first_whatever_order_they_came_in() -> None:
    rows = [match(f"f{n}", 1.0, valid_from=n) for n in range(20)]
    random.Random(3).shuffle(rows)
    fusion = Fusion()
    fusion.rank(Signal.WORDS, rows)
    assert [one.fact for one in fusion.best(3)] == ["f19", "f18", "f17"]
    assert isinstance(fusion.best(1)[0], Candidate)


def test_words_that_only_ask_are_left_out_unless_there_are_no_others() -> None:
    assert content_words("Why did we leave the Carrier?") == ("leave", "carrier")
    assert content_words("What was it?") == ("what", "was", "it")
    assert content_words("Straße über Ärzte") == ("strasse", "über", "ärzte")
    assert len(content_words(" ".join(f"w{n}" for n in range(500)))) == WORDS_MAX
