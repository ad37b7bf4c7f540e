"""Packs: the core one, and what the loader refuses, with its place."""

from decimal import Decimal

import pytest

from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.model import Cardinality, Predicate, Trust
from latewood.graph_schema.packs.loader import core_pack, load_pack, vocabulary
from latewood.graph_schema.values import Unit

HEAD = 'name = "p"\nversion = "1"\n'


def test_the_core_pack_has_the_words_of_decisions() -> None:
    words = vocabulary()

    assert core_pack().name == "core"
    assert words.predicates["status"].cardinality is Cardinality.SINGLE
    assert words.predicates["about"] == Predicate("about", Cardinality.MULTI, relation=True)
    assert words.units["h"] == Unit("h", "s", Decimal(3600))
    assert {"record", "name", "outcome", "based_on", "triggered_by", "decided_by", "in_session", "supersedes", "amends",
            "led_to"} <= set(words.predicates)  # fmt: skip
    bases = {unit.base for unit in words.units.values()}
    assert not bases & set(words.units), "a base unit is defined by another"


def test_a_pack_is_read_whole() -> None:
    pack = load_pack(
        HEAD + 'title = "T"\ndescription = "D"\n[predicates.limit]\ncardinality = "single"\nunit = "s"\n'
        'authority = "human"\nrelation = false\ndescription = "x"\n[units]\nwk = { base = "s", factor = "604800" }\n'
    )

    assert (pack.name, pack.version, pack.title, pack.description) == ("p", "1", "T", "D")
    assert pack.predicates["limit"] == Predicate("limit", Cardinality.SINGLE, "s", Trust.HUMAN)
    assert vocabulary([pack]).units["wk"].factor == 604_800


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("name = ", "the file"),
        ("", "name"),
        ('name = 1\nversion = "1"\n', "name"),
        ('name = "p"\n', "version"),
        (HEAD + "extra = 1\n", "the file"),
        (HEAD + 'title = ""\n', "title"),
        (HEAD + "predicates = 1\n", "predicates"),
        (HEAD + "[predicates]\nx = 1\n", "predicates.x"),
        (HEAD + "[predicates.x]\n", "predicates.x.cardinality"),
        (HEAD + '[predicates.x]\ncardinality = "some"\n', "predicates.x"),
        (HEAD + '[predicates.x]\ncardinality = "single"\nauthority = "king"\n', "predicates.x"),
        (HEAD + '[predicates.x]\ncardinality = "single"\nunit = 5\n', "predicates.x.unit"),
        (HEAD + '[predicates.x]\ncardinality = "single"\nrelation = "yes"\n', "predicates.x.relation"),
        (HEAD + '[predicates.x]\ncardinality = "single"\ncolour = "red"\n', "predicates.x"),
        (HEAD + "units = []\n", "units"),
        (HEAD + "[units]\nx = 1\n", "units.x"),
        (HEAD + '[units]\nx = { base = "s" }\n', "units.x.factor"),
        (HEAD + '[units]\nx = { base = "s", factor = "many" }\n', "units.x.factor"),
        (HEAD + '[units]\nx = { base = "s", factor = "0" }\n', "units.x.factor"),
        (HEAD + '[units]\nx = { base = "s", factor = "-1" }\n', "units.x.factor"),
        (HEAD + '[units]\nx = { base = "s", factor = "Infinity" }\n', "units.x.factor"),
        (HEAD + '[units]\nx = { factor = "2" }\n', "units.x.base"),
    ],
)
def test_a_malformed_pack_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(InvalidError) as error:
        load_pack(text, "given")
    assert error.value.code == "pack.invalid"
    assert place in str(error.value.details["where"])
    assert place in error.value.message


def test_packs_may_agree_but_not_contradict() -> None:
    pack = load_pack(HEAD + '[predicates.status]\ncardinality = "single"\n')
    assert vocabulary([pack, pack]).predicates["status"].cardinality is Cardinality.SINGLE
    for text in ('[predicates.status]\ncardinality = "multi"\n', '[units]\nh = { base = "s", factor = "1" }\n'):
        with pytest.raises(InvalidError) as error:
            vocabulary([load_pack(HEAD + text)])
        assert error.value.code == "pack.invalid"
