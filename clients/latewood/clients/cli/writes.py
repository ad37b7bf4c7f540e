"""The verbs that write. Each prints the receipt of what is on disk and visible by then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from latewood.clients.cli.call import Call, command
from latewood.clients.cli.groups import app
from latewood.clients.cli.options import (
    Because,
    IdempotencyKey,
    Kind,
    Quote,
    Session,
    Source,
    Unit,
    ValidFrom,
    ValidTo,
    alternative,
    instant,
    scalar,
)
from latewood.clients.cli.show import show_written
from latewood.graph_schema.model import DecisionStatus, Trust

if TYPE_CHECKING:
    from latewood.memory import Written

__all__: list[str] = []

_ID_OR_KEY: Final = "ID|KEY"
Subject: TypeAlias = Annotated[str, typer.Argument(metavar=_ID_OR_KEY, help="Such as carrier:A; declared when new.")]
Predicate: TypeAlias = Annotated[str, typer.Argument(metavar="PREDICATE", help="Such as on_time_rate.")]
FactId: TypeAlias = Annotated[
    str, typer.Argument(metavar="FACT", help="The fact's id, as a receipt or timeline has it.")
]
TrustOption: TypeAlias = Annotated[
    Trust | None, typer.Option("--trust", help="Believe it no further than this (what the actor is worth).")
]
Version: TypeAlias = Annotated[
    int | None,
    typer.Option("--expected-version", metavar="N", help="Refuse it if the subject moved; 0: it must be new."),
]
Type: TypeAlias = Annotated[Kind, typer.Option("--type", help="How to read the value; auto: as JSON, else as text.")]
Names: TypeAlias = list[str] | None


def _names(flag: str, about: str) -> object:
    return typer.Option(flag, metavar=_ID_OR_KEY, help=f"{about}; may be repeated.")


@command(app, writes=True, show=show_written)
async def decide(
    call: Call,
    choice: Annotated[str, typer.Argument(metavar="CHOICE", help="What was chosen.")],
    *,
    because: Because = None,
    title: Annotated[str | None, typer.Option("--title", help="A short name (the choice's beginning).")] = None,
    question: Annotated[str | None, typer.Option("--question", help="What had to be settled.")] = None,
    about: Annotated[Names, _names("--about", "An entity it concerns, declared when new")] = None,
    evidence: Annotated[Names, _names("--evidence", "What it rests on, pinned to what is known now")] = None,
    trigger: Annotated[Names, _names("--trigger", "What made it necessary")] = None,
    alternatives: Annotated[
        list[str] | None,
        typer.Option("--alternative", metavar="'TITLE | REASON'", help="Not taken, and why; may be repeated."),
    ] = None,
    supersedes: Annotated[Names, _names("--supersedes", "A decision it takes the place of")] = None,
    consequences: Annotated[str | None, typer.Option("--consequences", help="What follows from it.")] = None,
    confidence: Annotated[float | None, typer.Option("--confidence", help="From 0 to 1.")] = None,
    expected: Annotated[str | None, typer.Option("--expected", help="The outcome that is hoped for.")] = None,
    status: Annotated[DecisionStatus, typer.Option("--status", help="Where it stands.")] = DecisionStatus.ACCEPTED,
    key: Annotated[str | None, typer.Option("--key", help="What people call it, such as adr:12.")] = None,
    decided_at: Annotated[str | None, typer.Option("--decided-at", metavar="TIME", help="When (now).")] = None,
    decided_by: Annotated[Names, _names("--decided-by", "Who decided, when that is not who writes")] = None,
    session: Session = None,
    source: Source = None,
    idempotency_key: IdempotencyKey = None,
) -> Written:
    """Record a decision with its reasons.

    Example: `latewood decide "Move the Lyon lane to carrier B" --because "A is late" --about carrier:A --alternative "keep A | penalties did not help"`
    """  # noqa: E501 - an example is one line
    return await call.memory.decide(
        choice, because=because, title=title, question=question, about=about or (), evidence=evidence or (),
        trigger=trigger or (), alternatives=[alternative(one) for one in alternatives or ()],
        supersedes=supersedes or (), consequences=consequences, confidence=confidence, expected=expected,
        status=status, key=key, decided_at=instant(decided_at), decided_by=decided_by or (), session=session,
        source=source, idempotency_key=idempotency_key,
    )  # fmt: skip


@command(app, writes=True, show=show_written)
async def observe(
    call: Call,
    subject: Subject,
    predicate: Predicate,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="A number, true or false, JSON, or text.")],
    *,
    type_: Type = Kind.AUTO,
    unit: Unit = None,
    valid_from: ValidFrom = None,
    valid_to: ValidTo = None,
    as_written: Annotated[str | None, typer.Option("--as-written", help="The source's own word for the value.")] = None,
    quote: Quote = None,
    session: Session = None,
    source: Source = None,
    trust: TrustOption = None,
    expected_version: Version = None,
    idempotency_key: IdempotencyKey = None,
) -> Written:
    """Assert that a predicate of a subject has a value, for a period.

    Example: `latewood observe carrier:A on_time_rate 0.81 --valid-from 2026-03-01 --source https://tms.example/weekly`
    """
    return await call.memory.observe(
        subject, predicate, scalar(value, type_), unit=unit, valid_from=instant(valid_from),
        valid_to=instant(valid_to), as_written=as_written, quote=quote, session=session, source=source, trust=trust,
        expected_version=expected_version, idempotency_key=idempotency_key,
    )  # fmt: skip


@command(app, writes=True, show=show_written)
async def relate(
    call: Call,
    subject: Subject,
    predicate: Predicate,
    target: Subject,
    valid_from: ValidFrom = None,
    valid_to: ValidTo = None,
    quote: Quote = None,
    session: Session = None,
    source: Source = None,
    trust: TrustOption = None,
    expected_version: Version = None,
    idempotency_key: IdempotencyKey = None,
) -> Written:
    """Assert that a subject stands in a relation to a target, for a period.

    Example: `latewood relate carrier:B serves lane:lyon`
    """
    return await call.memory.relate(
        subject, predicate, target, valid_from=instant(valid_from), valid_to=instant(valid_to), quote=quote,
        session=session, source=source, trust=trust, expected_version=expected_version,
        idempotency_key=idempotency_key,
    )  # fmt: skip


@command(app, writes=True, show=show_written)
async def correct(
    call: Call,
    fact: FactId,
    value: Annotated[str | None, typer.Argument(metavar="VALUE", help="What was so instead.")] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar=_ID_OR_KEY, help="Or, of a relation, what it points to.")
    ] = None,
    type_: Type = Kind.AUTO,
    unit: Unit = None,
    valid_from: ValidFrom = None,
    valid_to: ValidTo = None,
    because: Because = None,
    session: Session = None,
    source: Source = None,
    idempotency_key: IdempotencyKey = None,
) -> Written:
    """Say that a fact was never so, and what was; what was known stays known.

    Example: `latewood correct 019a... 0.91 --because "two trucks were counted twice"`
    """
    return await call.memory.correct(
        fact, None if value is None else scalar(value, type_), target=target, unit=unit,
        valid_from=instant(valid_from), valid_to=instant(valid_to), because=because, session=session, source=source,
        idempotency_key=idempotency_key,
    )  # fmt: skip


@command(app, writes=True, show=show_written)
async def end(
    call: Call,
    fact: FactId,
    at: Annotated[str | None, typer.Option("--at", metavar="TIME", help="Since when (now).")] = None,
    because: Because = None,
    session: Session = None,
    source: Source = None,
    idempotency_key: IdempotencyKey = None,
) -> Written:
    """Say that a fact stopped being true, and nothing followed it.

    Example: `latewood end 019a... --at 2026-04-01 --because "contract ran out"`
    """
    return await call.memory.end(
        fact, at=instant(at), because=because, session=session, source=source, idempotency_key=idempotency_key
    )


@command(app, writes=True, show=show_written)
async def retract(
    call: Call,
    fact: FactId,
    because: Because = None,
    session: Session = None,
    source: Source = None,
    idempotency_key: IdempotencyKey = None,
) -> Written:
    """Say that a fact was never true: what it displaced holds again.

    Example: `latewood retract 019a... --because "wrong carrier"`
    """
    return await call.memory.retract(
        fact, because=because, session=session, source=source, idempotency_key=idempotency_key
    )


@command(app, writes=True, show=show_written)
async def supersede(
    call: Call,
    old: Annotated[str, typer.Argument(metavar="OLD", help="The decision that is replaced, by id or key.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The one that takes its place.")],
    at: Annotated[str | None, typer.Option("--at", metavar="TIME", help="Since when (now).")] = None,
    session: Session = None,
    source: Source = None,
    idempotency_key: IdempotencyKey = None,
) -> Written:
    """Let one decision take the place of another: the edge, and the old one's status, at once.

    Example: `latewood supersede adr:12 adr:28`
    """
    return await call.memory.supersede(
        old, new, at=instant(at), session=session, source=source, idempotency_key=idempotency_key
    )
