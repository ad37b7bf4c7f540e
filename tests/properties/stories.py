"""Random small histories: what one or two writers might say about a few things, in any order and often wrongly."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from latewood.graph_schema.clock import Micros, to_micros
from latewood.graph_schema.commands import ActorSpec, Assert, Command, End, Expect, Ref, Retract, SourceSpec, Unit
from latewood.graph_schema.ids import SequentialIds
from latewood.graph_schema.ledger import body_digest
from latewood.graph_schema.model import Trust
from latewood.graph_schema.packs.loader import load_pack, vocabulary
from latewood.graph_schema.values import Scalar, Value

WORDS: Final = vocabulary(
    [
        load_pack(
            'name = "stories"\nversion = "1"\n[predicates.limit]\ncardinality = "single"\nauthority = "human"\n'
            '[predicates.delay]\ncardinality = "single"\nunit = "min"\n'
        )
    ]
)
START: Final[Micros] = to_micros(datetime(2026, 1, 3, tzinfo=UTC))
HOUR: Final[Micros] = 3_600_000_000
VALID: Final[tuple[Micros, ...]] = tuple(START + 6 * HOUR * n for n in range(-4, 5))
"""The instants at which periods begin and end; recorded times lie in the middle of them."""
_SINGLE: Final = ("rate", "rate", "rate", "limit", "delay", "status")
_VALUES: Final[tuple[Scalar, ...]] = (1, 2, 2.0, Decimal("1.0"), "granite", "basalt", {"deep": ["marble", 1]}, True)
SEARCHED: Final = ("granite", "basalt marble", "marble", "final")


@dataclass(slots=True)
class Story:
    """One history: its own subjects, so that thousands share a space without touching."""

    rng: random.Random
    name: str
    ids: SequentialIds
    facts: list[str] = field(default_factory=list[str])
    values: dict[str, Assert] = field(default_factory=dict[str, Assert])
    units: list[Unit] = field(default_factory=list[Unit])

    @property
    def keys(self) -> tuple[str, str]:
        """Its two subjects."""
        return f"thing:{self.name}a", f"thing:{self.name}b"

    def _instant(self) -> Micros | None:
        return None if self.rng.random() < 0.15 else self.rng.choice(VALID)

    def _period(self) -> tuple[Micros | None, Micros | None]:
        start = self._instant()
        if self.rng.random() < 0.45:
            return start, None
        end = self.rng.choice(VALID)
        # Empty periods are tried too, if seldom: both stores must refuse them alike.
        if start is not None and end <= start and self.rng.random() < 0.9:
            return start, None
        return start, end

    def _say(self) -> Assert:
        rng = self.rng
        subject = Ref(key=self.keys[rng.random() < 0.15])
        start, end = self._period()
        said = Assert(
            self.ids.new(), subject, rng.choice(_SINGLE), valid_from=start, valid_to=end, known=rng.random() < 0.9,
            as_written="Final" if rng.random() < 0.1 else None,
        )  # fmt: skip
        kind = rng.random()
        if kind < 0.12 and self.facts:
            said = replace(said, predicate="based_on", object=Ref(id=rng.choice(self.facts)), relation=True)
        elif kind < 0.3:
            said = replace(said, predicate="uses", object=Ref(key=self.keys[rng.random() < 0.5]), relation=True)
        else:
            predicate = "outcome" if kind < 0.4 else said.predicate
            unit = rng.choice(("h", "min", "s", None)) if predicate == "delay" else None
            said = replace(said, predicate=predicate, value=Value.of(rng.choice(_VALUES), unit))
        self.facts.append(said.id)
        self.values[said.id] = said
        return said

    def _commands(self) -> tuple[Command, ...]:
        rng, kind = self.rng, self.rng.random()
        if not self.facts or kind < 0.55:
            return tuple(self._say() for _ in range(rng.choice((1, 1, 1, 1, 2, 3))))
        target = rng.choice(self.facts[-4:]) if rng.random() < 0.98 else self.ids.new()
        if kind < 0.7:
            return (Retract(self.ids.new(), target, rng.choice((None, "slip"))),)
        if kind < 0.83:
            end = End(self.ids.new(), target, self._instant(), rng.choice((None, "closed")))
            self.facts.append(end.id)
            return (end,)
        old = self.values.get(target)
        new = self._say()
        if old is not None and rng.random() < 0.8:
            new = replace(new, subject=old.subject, predicate=old.predicate, value=old.value, object=old.object)
            if old.value is not None:
                new = replace(new, value=Value.of(rng.choice(_VALUES), old.value.unit))
            if rng.random() < 0.6:
                new = replace(new, valid_from=old.valid_from, valid_to=old.valid_to)
        self.values[new.id] = new = replace(new, replaces=target)
        return (Retract(self.ids.new(), target, "mended"), new)

    def unit(self, versions: dict[str, int]) -> Unit:
        """Make the next unit; *versions* are those of the subjects now."""
        rng = self.rng
        if self.units and rng.random() < 0.06:
            again = replace(rng.choice(self.units), id=self.ids.new())
            return again if rng.random() < 0.7 else replace(again, body=body_digest("another"))
        expects: tuple[Expect, ...] = ()
        if rng.random() < 0.1:
            key = rng.choice(self.keys)
            version = versions.get(key, 0) if rng.random() < 0.7 else rng.randrange(9)
            expects = (Expect(Ref(key=key), version),)
        unit = Unit(
            self.ids.new(), "default", ActorSpec(rng.choice(("human:ada", "agent:one", "agent:two"))),
            rng.choice((*Trust, Trust.AGENT, Trust.AGENT)), body_digest(len(self.units)), self._commands(),
            op=f"{self.name}-{len(self.units)}" if rng.random() < 0.5 else None,
            source=SourceSpec(rng.choice((None, None, "doc:1", "doc:2"))), expects=expects,
        )  # fmt: skip
        if unit.op is not None:
            self.units.append(unit)
        return unit
