"""The words of pattern detection, and the port that every detector stands behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from latewood.graph_schema.clock import Micros
from latewood.graph_schema.patterns import DeclaredRun, PatternKind
from latewood.graph_schema.values import Json
from latewood.reasoning.patterns.memo import Memo
from latewood.reasoning.patterns.rates import Floats

__all__ = [
    "LEVELS",
    "PEERS",
    "Choices",
    "Detector",
    "Dispute",
    "Finding",
    "Numbers",
    "Occurrences",
    "Shaken",
    "Skipped",
    "Taken",
    "World",
]

PEERS: Final = "peers"
"""The scope of a series that is told against all of its kind at the same time."""


LEVELS: Final[Mapping[PatternKind, float]] = {
    # The tests of changes are on the careful side: what is false of their findings stays well below 5 %.
    PatternKind.TREND: 0.06,
    PatternKind.SHIFT: 0.06,
    PatternKind.RULE: 0.05,
    PatternKind.OUTCOME: 0.05,
    PatternKind.RECURRENCE: 0.10,
    # A single odd value asks for a look, nothing more, and a missed one is not seen again.
    PatternKind.ANOMALY: 0.20,
}
"""The false discovery rate that each kind's family is held to; the others are counted, not tested."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """What one predicate of one subject was over time, in one unit.

    Attributes:
        facts: the id behind each value.
        against: None for the values as they are, `PEERS` for what is left of them against all others of the time.
    """

    subject: str
    predicate: str
    unit: str | None
    facts: tuple[str, ...]
    times: tuple[Micros, ...]
    values: Floats
    against: str | None = None


@dataclass(frozen=True, slots=True)
class Choices:
    """What one single-valued predicate of one subject was in words, over time."""

    subject: str
    predicate: str
    facts: tuple[str, ...]
    times: tuple[Micros, ...]
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Occurrences:
    """Which kinds of one multi-valued predicate occurred at which subjects, and when.

    Attributes:
        facts: (subject, time, kind) by fact id; *kinds* is what was said, or the id of what was pointed at.
    """

    predicate: str
    facts: Mapping[str, tuple[str, Micros, str]]

    def before(self) -> Occurrences:
        """Leave out those of the latest instant."""
        last = max((told[1] for told in self.facts.values()), default=0)
        return Occurrences(self.predicate, {key: told for key, told in self.facts.items() if told[1] < last})


@dataclass(frozen=True, slots=True)
class Dispute:
    """A *fact* that holds while another source says otherwise: the strongest *challenger*, and *others* beside it."""

    subject: str
    predicate: str
    fact: str
    challenger: str
    others: int
    since: Micros


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a decision.

    Attributes:
        groups: the nodes that it was about, and who took it.
        told: the fact that says how it ended, or where it stands.
        bad: it was reversed or withdrawn, or its outcome is said to be bad.
    """

    decision: str
    groups: tuple[str, ...]
    time: Micros
    told: str
    bad: bool


@dataclass(frozen=True, slots=True)
class Shaken:
    """A decision that stands, and what moved under it: ids of evidence, how, and of the facts that hold instead."""

    decision: str
    record: str
    moved: tuple[str, ...]
    how: tuple[str, ...]
    now: tuple[str, ...]
    since: Micros


@dataclass(frozen=True, slots=True)
class Skipped:
    """A series that was not looked at, or not all of it, and why, in words."""

    subject: str
    predicate: str
    reason: str


@dataclass(frozen=True, slots=True)
class World:
    """Everything that a look is about.

    Attributes:
        names: what people call a subject, by its id.
        declared: the recurrences that packs declare.
        disputes: where sources disagree.
        taken, shaken: what became of decisions, and those that stand on evidence that moved.
        memo: what earlier looks worked out; it changes no finding.
    """

    numbers: tuple[Numbers, ...] = ()
    choices: tuple[Choices, ...] = ()
    occurrences: tuple[Occurrences, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    declared: tuple[DeclaredRun, ...] = ()
    disputes: tuple[Dispute, ...] = ()
    taken: tuple[Taken, ...] = ()
    shaken: tuple[Shaken, ...] = ()
    memo: Memo = field(default_factory=Memo, compare=False)

    def before(self) -> World:
        """Return what was there before the latest that was told of each series: the world of the look before."""
        numbers = tuple(
            replace(one, facts=one.facts[:-1], times=one.times[:-1], values=one.values[:-1]) for one in self.numbers
        )
        choices = tuple(
            replace(one, facts=one.facts[:-1], times=one.times[:-1], choices=one.choices[:-1]) for one in self.choices
        )
        occurrences = tuple(one.before() for one in self.occurrences)
        latest = max((one.time for one in self.taken), default=0)
        return replace(
            self,
            taken=tuple(one for one in self.taken if one.time < latest),
            numbers=numbers,
            choices=choices,
            occurrences=tuple(one for one in occurrences if one.facts),
            skipped=(),
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """One pattern, as a look found it.

    Attributes:
        scope: what it is a pattern of: one subject, or cause and effect of a rule; with *kind* and *predicate* its key.
        subjects: ids of the nodes that it is about.
        statement: the one plain sentence, with slots for what was said (`wording`).
        family: how it was judged, and *judged* together with how many others; *p* and *q* are None where it is counted.
        effect, low, high: the size with its 95 % interval, in *unit* where it has one.
        since, until: from its onset to the latest thing that speaks for it.
        support: how many facts speak for it.
        evidence: their ids, in order of time.
        detail: what else the kind has to say.
        more: what else there is to say that is worth working out only when the words are written.
    """

    kind: PatternKind
    scope: str
    predicate: str
    subjects: tuple[str, ...]
    statement: str
    family: str
    since: Micros
    until: Micros
    support: int
    evidence: tuple[str, ...]
    judged: int = 0
    p: float | None = None
    q: float | None = None
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str | None = None
    detail: Mapping[str, Json] = field(default_factory=dict[str, Json])
    more: Callable[[], Mapping[str, Json]] | None = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> tuple[str, str, str]:
        """Kind, scope and predicate: one pattern each."""
        return (self.kind.value, self.scope, self.predicate)


class Detector(Protocol):
    """Finds patterns of one sort or of sorts that compete. Pure: the same world gives the same findings."""

    @property
    def name(self) -> str:
        """What it is called where it fails."""
        ...

    @property
    def kinds(self) -> frozenset[PatternKind]:
        """What it finds."""
        ...

    def find(self, world: World, slack: float = 1.0) -> tuple[Sequence[Finding], Sequence[Skipped]]:
        """Return what holds of *world* at *slack* times the levels, and which series it could not look at."""
        ...
