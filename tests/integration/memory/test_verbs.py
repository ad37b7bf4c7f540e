"""What users must see of the verbs, on every store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from latewood.graph_schema.clock import ManualClock
from latewood.graph_schema.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    LatewoodError,
    LimitError,
    NotFoundError,
)
from latewood.graph_schema.model import Fact
from latewood.memory import Alternative, AsOf, Axis, DecisionStatus, Memory, NodeKind, Trust
from latewood.reasoning.changes import DifferenceKind

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)


def day(month: int, number: int) -> datetime:
    return datetime(2026, month, number, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(day(3, 10))


@pytest.fixture(params=["sqlite", "reference"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "reference:" if request.param == "reference" else str(tmp_path / "latewood.db")


@pytest.fixture
async def memory(url: str, clock: ManualClock) -> AsyncIterator[Memory]:
    async with Memory.open(url, by="agent:planner", clock=clock) as memory:
        yield memory


async def current(memory: Memory, key: str, predicate: str, at: AsOf | None = None) -> list[object]:
    facts = (await memory.entity(key, [predicate], at or AsOf())).facts
    return [fact.value.python for fact in facts if fact.value is not None]


async def test_a_decision_comes_back_with_everything_it_rested_on(memory: Memory) -> None:
    late = await memory.observe(
        "carrier:A", "on_time_rate", 0.81, quote="81 % in week 9", source="https://tms.example/9"
    )
    choice = await memory.decide(
        "Move the Lyon lane to carrier B",
        question="Who drives Lyon?",
        because="A has been late three weeks running",
        about=["carrier:A", "carrier:B"],
        evidence=[late],
        trigger=[late],
        session="s-12",
        confidence=0.8,
        expected="on time from week 12",
        alternatives=[Alternative("keep A with a penalty", rejected_because="penalties did not help in Q2")],
    )

    why = await memory.why(choice)
    decision = why.decision
    assert decision.title == "Move the Lyon lane to carrier B"
    assert decision.rationale == "A has been late three weeks running"
    assert decision.alternatives == (Alternative("keep A with a penalty", "penalties did not help in Q2"),)
    assert [node.key for node in decision.about] == ["carrier:A", "carrier:B"]
    assert [node.key for node in decision.decided_by] == ["agent:planner"]
    assert decision.session is not None
    assert decision.session.name == "s-12"
    (piece,) = decision.evidence
    assert isinstance(piece.fact, Fact)
    assert piece.fact.source.quote == "81 % in week 9"
    assert piece.fact.source.origin == "https://tms.example/9"
    roles = [line.role for line in why.lines]
    assert roles == [
        "trigger",
        "evidence",
        "question",
        "choice",
        "rationale",
        "alternative",
        "who",
        "session",
        "status",
    ]
    assert all(line.source is not None for line in why.lines if line.role != "session")


async def test_evidence_is_shown_as_it_was_known_then_and_says_that_it_moved(
    memory: Memory, clock: ManualClock
) -> None:
    rate = await memory.observe("carrier:A", "on_time_rate", 0.81)
    site = await memory.observe("carrier:A", "site", "Lyon")
    fee = await memory.observe("carrier:A", "fee", 5)
    plan = await memory.observe("carrier:A", "plan", "gold")
    choice = await memory.decide("Leave A", because="late", evidence=[rate, site, fee, plan])
    clock.advance(days=1)
    await memory.correct(rate, 0.91, because="two trucks were counted twice")
    await memory.retract(site, because="another carrier")
    await memory.end(fee)
    await memory.observe("carrier:A", "plan", "silver")

    pieces = {piece.fact.predicate: piece for piece in (await memory.decision(choice)).evidence if piece.fact}
    assert {name: piece.moved for name, piece in pieces.items()} == {
        "on_time_rate": "corrected",
        "site": "retracted",
        "fee": "ended",
        "plan": "superseded",
    }
    assert all(piece.fact is not None and piece.fact.retired_at is None for piece in pieces.values())
    assert pieces["on_time_rate"].fact is not None
    assert pieces["on_time_rate"].fact.value is not None
    assert pieces["on_time_rate"].fact.value.python == 0.81


async def test_a_change_learnt_late_is_true_then_and_known_now(memory: Memory, clock: ManualClock) -> None:
    clock.set(day(1, 5))
    await memory.observe("vendor:X", "sla_hours", 48, valid_from=JANUARY)
    clock.set(day(3, 10))
    await memory.observe("vendor:X", "sla_hours", 24, valid_from=day(2, 1))
    clock.set(day(3, 11))

    assert await current(memory, "vendor:X", "sla_hours", AsOf(day(2, 15), day(2, 20))) == [48]
    assert await current(memory, "vendor:X", "sla_hours", AsOf(day(2, 15), day(3, 11))) == [24]
    assert await current(memory, "vendor:X", "sla_hours", AsOf(day(1, 15), day(3, 11))) == [48]
    history = (await memory.timeline("vendor:X")).items
    assert [fact.value.python for fact in history if fact.value] == [48, 24]


async def test_facts_may_arrive_in_any_order(memory: Memory) -> None:
    await memory.observe("metric:m", "level", 12, valid_from=day(3, 1))
    written = await memory.observe("metric:m", "level", 10, valid_from=day(1, 1))

    assert await current(memory, "metric:m", "level", AsOf(day(6, 1))) == [12]
    assert await current(memory, "metric:m", "level", AsOf(day(2, 1))) == [10]
    (gap,) = written.receipt.not_holding
    assert (gap.valid_from, gap.valid_to) == (day(3, 1), None)


async def test_a_during_gives_way_to_the_wider_fact_after_it(memory: Memory) -> None:
    await memory.observe("shop:s", "opens", "9:00", valid_from=day(1, 1))
    await memory.observe("shop:s", "opens", "11:00", valid_from=day(2, 1), valid_to=day(2, 8))

    assert await current(memory, "shop:s", "opens", AsOf(day(2, 3))) == ["11:00"]
    assert await current(memory, "shop:s", "opens", AsOf(day(2, 8))) == ["9:00"]


async def test_two_stints_of_one_relation_stay_two(memory: Memory, clock: ManualClock) -> None:
    clock.set(day(1, 1))
    first = await memory.relate("person:ada", "works_for", "org:acme")
    clock.set(day(2, 1))
    await memory.end(first)
    clock.set(day(3, 1))
    await memory.relate("person:ada", "works_for", "org:acme")

    def targets(at: datetime) -> AsOf:
        return AsOf(valid_at=at)

    for at, count in ((day(1, 15), 1), (day(2, 15), 0), (day(3, 15), 1)):
        assert len((await memory.entity("person:ada", ["works_for"], targets(at))).facts) == count
    assert [fact.absent for fact in (await memory.timeline("person:ada")).items] == [False, True, False]


async def test_a_retraction_brings_the_predecessor_back_and_was_not_known_before(
    memory: Memory, clock: ManualClock
) -> None:
    await memory.observe("carrier:A", "state", "good", valid_from=day(1, 1))
    clock.set(day(3, 11))
    wrong = await memory.observe("carrier:A", "state", "bad", valid_from=day(2, 1))
    clock.set(day(3, 12))
    await memory.retract(wrong, because="another carrier")

    assert await current(memory, "carrier:A", "state") == ["good"]
    assert await current(memory, "carrier:A", "state", AsOf(known_at=day(3, 11) + timedelta(hours=1))) == ["bad"]
    with pytest.raises(ConflictError) as again:
        await memory.retract(wrong)
    assert again.value.code == "fact.retracted"


async def test_an_end_needs_a_fact_that_holds_then_and_names_what_does(memory: Memory) -> None:
    old = await memory.observe("carrier:A", "state", "good", valid_from=day(1, 1))
    new = await memory.observe("carrier:A", "state", "bad", valid_from=day(2, 1))

    with pytest.raises(ConflictError, match=new.id) as caught:
        await memory.end(old, at=day(2, 5))
    assert caught.value.code == "fact.not_holding"
    await memory.end(old, at=day(1, 20))
    assert await current(memory, "carrier:A", "state", AsOf(day(1, 25))) == []
    assert await current(memory, "carrier:A", "state", AsOf(day(2, 2))) == ["bad"]


async def test_untrusted_text_never_displaces_what_people_said(memory: Memory, clock: ManualClock) -> None:
    said = await memory.observe("org:acme", "ceo", "Ada", by="human:ada", valid_from=day(1, 1))
    clock.advance(days=1)
    await memory.observe("org:acme", "ceo", "Mallory", source="https://evil.example", trust=Trust.UNTRUSTED)

    (fact,) = (await memory.entity("org:acme", ["ceo"])).facts
    assert fact.id == said.id
    assert fact.conflict is not None
    assert fact.conflict.value is not None
    assert fact.conflict.value.python == "Mallory"
    with pytest.raises(ForbiddenError) as caught:
        await memory.within(trust=Trust.UNTRUSTED).retract(said)
    assert caught.value.code == "trust.too_low"


async def test_two_origins_that_disagree_are_both_shown(memory: Memory) -> None:
    first = await memory.observe("part:p", "weight", Decimal("5.0"), unit="kg", valid_from=day(1, 1), source="sheet-a")
    await memory.observe("part:p", "weight", 5000, unit="g", valid_from=day(1, 1), source="sheet-b")
    same = (await memory.entity("part:p", ["weight"])).facts[0]
    await memory.observe("part:p", "weight", 6, unit="kg", valid_from=day(1, 1), source="sheet-c")
    await memory.observe("part:p", "weight", 7, unit="kg", valid_from=day(1, 1), source="sheet-d")

    assert same.conflict is None
    (fact,) = (await memory.entity("part:p", ["weight"])).facts
    assert fact.value is not None
    assert fact.value.python == 7
    assert fact.conflict is not None
    assert fact.conflict.others == 2
    assert first.receipt.registered == ("weight",)


async def test_a_write_without_an_actor_is_refused(url: str) -> None:
    async with Memory.open(url) as memory:
        with pytest.raises(InvalidError) as caught:
            await memory.observe("carrier:A", "state", "late")

        assert caught.value.code == "actor.missing"
        assert (await memory.observe("carrier:A", "state", "late", by="human:ada")).receipt.state == "stored"


async def test_the_same_key_and_payload_gives_the_same_receipt(memory: Memory) -> None:
    first = await memory.decide("Use Postgres", because="we know it", about=["database"], idempotency_key="k-1")
    second = await memory.decide("Use Postgres", because="we know it", about=["database"], idempotency_key="k-1")

    assert second.id == first.id
    assert second.receipt.replayed
    assert second.receipt.facts == first.receipt.facts
    assert len((await memory.decisions()).items) == 1
    with pytest.raises(ConflictError) as caught:
        await memory.decide("Use MySQL", because="we know it", about=["database"], idempotency_key="k-1")
    assert caught.value.code == "idempotency.conflict"


async def test_a_refused_write_has_a_receipt_with_its_class(memory: Memory) -> None:
    kept = await memory.observe("carrier:A", "state", "late")
    with pytest.raises(LatewoodError) as caught:
        await memory.end("01900000-0000-7000-8000-000000000000")

    stored = await memory.receipt(kept.receipt.id)
    assert stored == kept.receipt
    failed = await memory.receipt(str(caught.value.details["receipt"]))
    assert (failed.state, failed.code) == ("failed", "node.not_found")
    with pytest.raises(NotFoundError):
        await memory.receipt("nothing")


async def test_an_expected_version_that_moved_is_refused(memory: Memory) -> None:
    await memory.observe("carrier:A", "state", "late")
    version = (await memory.node("carrier:A")).version
    await memory.observe("carrier:A", "state", "later", expected_version=version)

    with pytest.raises(ConflictError) as caught:
        await memory.observe("carrier:A", "state", "latest", expected_version=version)
    assert caught.value.code == "version.conflict"
    assert await current(memory, "carrier:A", "state") == ["later"]


async def test_superseding_is_one_edge_with_two_views_and_a_status(memory: Memory, clock: ManualClock) -> None:
    old = await memory.decide("Use Harbor", because="self-hosted", key="adr:28")
    clock.advance(days=1)
    before = clock.now()
    clock.advance(days=1)
    new = await memory.decide("Use ECR", because="less work", key="adr:46", supersedes=[old])

    assert [one.key for one in (await memory.decision("adr:28")).superseded_by] == ["adr:46"]
    assert [one.key for one in (await memory.decision(new)).supersedes] == ["adr:28"]
    assert (await memory.decision(old)).status is DecisionStatus.SUPERSEDED
    from latewood.graph_schema.clock import from_micros

    assert (await memory.decision(old, AsOf(known_at=from_micros(before)))).status is DecisionStatus.ACCEPTED
    why = await memory.why("adr:28")
    assert [one.key for one in why.in_force] == ["adr:46"]
    with pytest.raises(ConflictError) as caught:
        await memory.supersede(new, old)
    assert caught.value.code == "decision.cyclic"


async def test_why_finds_decisions_by_entity_and_by_words(memory: Memory) -> None:
    await memory.decide("Use Postgres", because="transactions", about=["database"])
    await memory.decide("Paint it green", because="taste")

    assert [one.decision.title for one in await memory.why_about("database")] == ["Use Postgres"]
    assert [one.decision.title for one in await memory.why_about("postgres transactions")] == ["Use Postgres"]
    assert await memory.why_about("nothing of the kind") == ()


async def test_a_diff_lists_what_was_learnt_and_what_became_true(memory: Memory, clock: ManualClock) -> None:
    await memory.observe("carrier:A", "state", "good", valid_from=day(1, 1))
    clock.set(day(3, 20))
    bad = await memory.observe("carrier:A", "state", "bad", valid_from=day(2, 1))
    clock.set(day(3, 21))
    await memory.correct(bad, "poor", because="wording")
    await memory.observe("carrier:A", "state", "fair", valid_from=day(1, 10))

    known = (await memory.diff(day(3, 15), day(3, 30))).items
    assert [(one.kind, one.before and one.before.value and one.before.value.data) for one in known] == [
        (DifferenceKind.CHANGED, "good"),
        (DifferenceKind.CORRECTED, "bad"),
        (DifferenceKind.CHANGED, "good"),
    ]
    valid = (await memory.diff(day(1, 5), day(2, 5), axis=Axis.VALID)).items
    assert [one.after and one.after.value and one.after.value.data for one in valid] == ["fair", "poor"]
    assert (await memory.diff(day(3, 15), day(3, 30), about="carrier:A")).items == known
    with pytest.raises(InvalidError):
        await memory.diff(day(3, 30), day(3, 15))


async def test_find_ranks_by_words_and_hides_what_was_not_known_then(memory: Memory, clock: ManualClock) -> None:
    before = day(3, 10) - timedelta(seconds=1)
    await memory.decide("Use Postgres for orders", because="transactions")
    await memory.observe("carrier:A", "note", "delivers orders to Lyon")

    assert {hit.node.name for hit in await memory.find("orders")} == {"Use Postgres for orders", "carrier:A"}
    assert [hit.node.kind for hit in await memory.find("orders", kinds=[NodeKind.DECISION])] == [NodeKind.DECISION]
    assert await memory.find("orders", at=AsOf(known_at=before)) == ()
    assert await memory.find('"; drop table * NEAR(') == ()


async def test_watch_yields_each_event_once_from_a_cursor(memory: Memory) -> None:
    first = await memory.observe("carrier:A", "state", "late")
    seen: list[int] = []

    async def follow() -> None:
        async for entry in memory.watch(first.receipt.seq):
            seen.append(entry.seq)
            if len(seen) == 3:
                return

    task = asyncio.create_task(follow())
    await asyncio.sleep(0.05)
    for number in range(3):
        await memory.observe("carrier:A", "state", f"late {number}")
    await asyncio.wait_for(task, 10)

    assert seen == [first.receipt.seq + 1, first.receipt.seq + 2, first.receipt.seq + 3]


async def test_fifty_writers_at_once_lose_nothing(memory: Memory) -> None:
    async def writer(number: int) -> None:
        for turn in range(2):
            await memory.observe(f"item:{number}", "turn", turn, by=f"agent:{number}")
            await memory.relate("hub:h", "saw", f"item:{number}", by=f"agent:{number}")

    await asyncio.gather(*(writer(number) for number in range(50)))

    for number in range(50):
        assert await current(memory, f"item:{number}", "turn") == [1]
    assert len((await memory.entity("hub:h", ["saw"])).facts) == 50
    assert (await memory.verify()).ok


async def test_spaces_are_apart_and_an_unknown_one_is_named_with_its_neighbours(memory: Memory) -> None:
    await memory.create_space("logistics")
    other = memory.within(space="logistics")
    await memory.observe("carrier:A", "state", "late")

    with pytest.raises(NotFoundError):
        await other.node("carrier:A")
    with pytest.raises(NotFoundError, match="logistics") as caught:
        await memory.within(space="logistic").node("carrier:A")
    assert caught.value.code == "space.unknown"
    with pytest.raises(ConflictError):
        await memory.create_space("logistics")
    with pytest.raises(InvalidError):
        await memory.create_space("Logistics!")


async def test_another_tenant_sees_nothing(memory: Memory) -> None:
    written = await memory.observe("carrier:A", "state", "late")
    other = memory.within(tenant="rival")

    with pytest.raises(NotFoundError):
        await other.node("carrier:A")
    with pytest.raises(NotFoundError):
        await other.fact(written.id)
    with pytest.raises(NotFoundError):
        await other.receipt(written.receipt.id)
    assert [space.name for space in await other.spaces()] == ["default"]


async def test_a_strict_space_takes_only_known_predicates(memory: Memory) -> None:
    await memory.create_space("strict", strict=True)
    strict = memory.within(space="strict")

    assert (await strict.decide("Be strict", because="typos")).receipt.registered == ()
    with pytest.raises(NotFoundError) as caught:
        await strict.observe("carrier:A", "stete", "late")
    assert caught.value.code == "predicate.unknown"


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("time.naive", lambda m: m.observe("a:b", "p", 1, valid_from=datetime(2026, 1, 1))),  # noqa: DTZ001
        ("period.empty", lambda m: m.observe("a:b", "p", 1, valid_from=day(2, 1), valid_to=day(2, 1))),
        ("value.invalid", lambda m: m.observe("a:b", "p", float("nan"))),
        ("value.invalid", lambda m: m.observe("a:b", "p", {"x": object()})),
        ("value.invalid", lambda m: m.observe("", "p", 1)),
        ("value.invalid", lambda m: m.observe("a:b", "no spaces here", 1)),
        ("text.too_long", lambda m: m.observe("a:b", "p", "x" * 1_000_001)),
        ("text.too_long", lambda m: m.observe("a:" + "b" * 600, "p", 1)),
        ("node.not_found", lambda m: m.decide("x", because="y", evidence=["01900000-0000-7000-8000-000000000000"])),
        ("node.not_found", lambda m: m.decision("adr:99")),
        ("query.invalid", lambda m: m.decide("x", because="y", confidence=2.0)),
        ("cursor.invalid", lambda m: m.decisions(after="nonsense")),
        ("limit.exceeded", lambda m: m.decisions(first=100_000)),
    ],
)
async def test_bad_input_has_a_code_and_writes_nothing(memory: Memory, code: str, call) -> None:
    with pytest.raises(LatewoodError) as caught:
        await call(memory)

    assert caught.value.code == code
    assert (await memory.spaces())[0].nodes == 0


async def test_a_unit_that_touches_too_many_stretches_is_refused_by_name(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    if memory.store.__class__.__name__ == "ReferenceStore":
        pytest.skip("the definition has no stretches")
    for module in ("latewood.graph_schema.resolution", "latewood.storage.settling"):
        monkeypatch.setattr(f"{module}.STRETCHES_MAX", 20)
    for number in range(30):
        start = JANUARY + timedelta(hours=number)
        await memory.observe("metric:m", "level", number, valid_from=start, valid_to=start + timedelta(minutes=30))

    with pytest.raises(LimitError) as caught:
        await memory.observe("metric:m", "level", 99, valid_from=JANUARY - timedelta(days=1))
    assert caught.value.details["limit"] == "STRETCHES_MAX"
    assert (await memory.verify()).ok
    assert await current(memory, "metric:m", "level", AsOf(JANUARY)) == [0]


async def test_a_decision_taken_earlier_still_takes_the_place_of_one_dated_later(memory: Memory) -> None:
    old = await memory.decide("Use Harbor", because="self-hosted", decided_at=day(3, 5))
    await memory.decide("Use ECR", because="less work", decided_at=day(2, 1), supersedes=[old])

    assert (await memory.decision(old)).status is DecisionStatus.SUPERSEDED


async def test_a_unit_whose_ids_are_no_ids_fails_alone(memory: Memory) -> None:
    from latewood.graph_schema.commands import Assert, Ref
    from latewood.graph_schema.values import Value

    good = Assert(memory.ids.new(), Ref(key="carrier:A"), "state", Value("text", "late"))
    same = Assert(good.id, Ref(key="carrier:B"), "state", Value("text", "late"))
    odd = Assert("one", Ref(key="carrier:C"), "state", Value("text", "late"))
    units = [memory.unit(commands, "a test") for commands in ([good, same], [odd], [good])]
    answers = await memory.store.commit(units)

    assert [getattr(answer, "code", "kept") for answer in answers[:2]] == ["query.invalid", "query.invalid"]
    assert await current(memory, "carrier:A", "state") == ["late"]
