"""From commands to events, with nothing stored."""

from dataclasses import replace

import pytest

from latewood.graph_schema.clock import ManualClock, from_micros
from latewood.graph_schema.commands import ActorSpec, Assert, Declare, End, History, Ref, Retract, SourceSpec, Unit
from latewood.graph_schema.errors import ConflictError, InvalidError, NotFoundError, RefusedError
from latewood.graph_schema.events import EventKind
from latewood.graph_schema.ids import SequentialIds
from latewood.graph_schema.model import Cardinality, NodeKind, Predicate, Trust
from latewood.graph_schema.packs.loader import vocabulary
from latewood.graph_schema.values import Value
from latewood.storage.names import check_space_name, session_key, unknown_space
from latewood.storage.needing import needs_of
from latewood.storage.planning import plan
from latewood.storage.plans import (
    Plan,
    predicate_attributes,
    predicate_of,
    receipt_of,
    recorded_time,
)
from latewood.storage.rows import Known, SpaceRow

SPACE = SpaceRow("00000000-0000-7000-8000-000000000009", "default", b"secret", strict=False, state="live", filling=None)
NAMES = SequentialIds(7)


def say(predicate: str = "rate", value: object = 1, **more: object) -> Assert:
    return Assert(NAMES.new(), Ref(key="thing:a"), predicate, Value.of(value), **more)  # type: ignore[arg-type]


def unit(*commands: object, **more: object) -> Unit:
    return Unit(NAMES.new(), "default", ActorSpec("agent:x"), Trust.AGENT, b"b", commands, **more)  # type: ignore[arg-type]


def planned(one: Unit, space: SpaceRow = SPACE, head: int = 0, predicates: dict[str, Predicate] | None = None) -> Plan:
    known = Known(space, head, {}, {}, {}, predicates or {}, {})
    return plan(one, known, vocabulary(), ManualClock(from_micros(1_000)), SequentialIds())


def test_a_plan_declares_who_speaks_before_what_is_said() -> None:
    said = say()
    result = planned(unit(said, session="s-1"))

    kinds = [node.kind for node in result.declared]
    assert kinds == [NodeKind.ACTOR, NodeKind.SESSION, NodeKind.SOURCE, NodeKind.PREDICATE, NodeKind.ENTITY]
    assert [event.kind for event in result.events] == [EventKind.DECLARED] * 5 + [EventKind.ASSERTED]
    assert [event.ordinal for event in result.events] == list(range(6))
    assert (result.facts, result.registered, result.nodes) == ([said.id], ["rate"], {"thing:a": result.declared[-1].id})
    receipt = receipt_of(unit(said), result, 6, ())
    assert receipt.declared == ("agent:x", "session:s-1", "thing:a")


def test_no_header_has_a_word() -> None:
    event = planned(unit(say("rate", "private words"))).events[-1]
    header = replace(event, payload={})

    assert "private" not in repr(header)
    assert event.payload["value"] == {"kind": "text", "data": "private words"}


def test_keys_follow_cardinality_unit_and_canonical_value() -> None:
    def key(said: Assert) -> bytes | None:
        return planned(unit(said)).events[-1].key

    assert key(say("rate", 1)) == key(say("rate", 2))
    assert key(say("rate", 1)) != key(say("other", 1))
    assert key(say("outcome", 1)) != key(say("outcome", 2))
    assert key(say("outcome", 5)) == key(say("outcome", 5.0))
    long = 10**30
    assert key(say("outcome", long)) != key(say("outcome", long + 1))
    hour, minutes = Value.of(1, "h"), Value.of(60, "min")
    assert key(replace(say("outcome"), value=hour)) == key(replace(say("outcome"), value=minutes))


def test_tiers_come_from_trust_and_authority() -> None:
    for trust, tier in ((Trust.SYSTEM, 1), (Trust.AGENT, 1), (Trust.EXTRACTED, 0), (Trust.UNTRUSTED, 0)):
        event = planned(replace(unit(say()), trust=trust)).events[-1]
        assert (event.tier, event.trust) == (tier, trust.level)
    strict = {"rate": Predicate("rate", Cardinality.SINGLE, authority=Trust.HUMAN)}
    assert planned(unit(say()), predicates=strict).events[-1].tier == 0


def test_a_start_left_out_is_the_recording() -> None:
    result = planned(unit(say()), head=5_000)

    assert result.recorded_at == 5_001
    assert result.written_at == 1_000
    assert result.events[-1].valid_from == 5_001
    assert result.events[-1].known


@pytest.mark.parametrize(
    ("state", "filling", "origin", "expected"),
    [
        ("empty", None, "git", 10),
        ("filling", "git", "git", 10),
        ("live", None, "git", 1_000),
        ("empty", None, None, 1_000),
    ],
)
def test_only_a_filling_takes_a_historys_time(
    state: str, filling: str | None, origin: str | None, expected: int
) -> None:
    space = replace(SPACE, state=state, filling=filling)
    one = unit(say(), history=None if origin is None else History(origin, 10))

    assert recorded_time(one, space, 0, 1_000) == expected
    assert planned(one, space).recorded_at == expected
    assert recorded_time(one, space, 2_000, 1_000) == 2_001


def test_a_history_waits_for_the_one_that_fills_the_space() -> None:
    with pytest.raises(ConflictError) as caught:
        planned(unit(say(), history=History("git", 10)), replace(SPACE, state="filling", filling="other"))

    assert caught.value.code == "space.filling"


def test_equal_sources_are_one_and_others_are_not() -> None:
    def source(one: Unit) -> str | None:
        return next(node.key for node in planned(one).declared if node.kind is NodeKind.SOURCE)

    assert source(unit(say())) == source(unit(say("other")))
    different = [
        unit(say()), unit(say(), session="s"), unit(say(), source=SourceSpec("doc")),
        unit(say(), source=SourceSpec("doc", model="m")), replace(unit(say()), actor=ActorSpec("agent:y")),
        replace(unit(say()), actor=ActorSpec("agent:x", "human:ada")),
    ]  # fmt: skip
    assert len({source(one) for one in different}) == len(different)


def test_needs_name_everything_a_plan_asks_for() -> None:
    fact, node = NAMES.new(), NAMES.new()
    one = unit(
        say(replaces=fact), Declare(node, NodeKind.ENTITY, "thing", "Thing:B", "b"), End(NAMES.new(), fact, 5),
        Retract(NAMES.new(), fact), Assert(NAMES.new(), Ref(id=node), "uses", object=Ref(key="Thing:C")), session="S-1",
    )  # fmt: skip
    needs = needs_of(one)

    assert {"agent:x", "session:s-1", "thing:a", "thing:b", "thing:c"} <= needs.keys
    assert needs.ids == {node}
    assert needs.facts == {fact}
    assert needs.predicates == {"rate", "uses"}
    assert list(needs.ends) == [(fact, 5)]


def test_a_refused_plan_names_the_way_out() -> None:
    with pytest.raises(RefusedError) as error:
        planned(unit(say("rate", 1, valid_from=5, valid_to=5)))
    assert error.value.code == "period.empty"
    assert "leave the end out" in error.value.message
    with pytest.raises(NotFoundError) as error:
        planned(unit(say()), replace(SPACE, strict=True))
    assert error.value.code == "predicate.unknown"


def test_names() -> None:
    assert check_space_name("a.b-c_1") == "a.b-c_1"
    for bad in ("", "A", ".a", "a" * 65, "a\n"):
        with pytest.raises(InvalidError):
            check_space_name(bad)
    assert session_key("s") == session_key("session:s") == "session:s"
    error = unknown_space("defualt", ["default", "zoo"])
    assert error.details["suggestions"] == ["default"]
    assert unknown_space("qqq", ["b", "a"]).details["suggestions"] == ["a", "b"]
    predicate = Predicate("p", Cardinality.MULTI, "s", Trust.HUMAN, relation=True)
    assert predicate_of(predicate_attributes(predicate)) == predicate
