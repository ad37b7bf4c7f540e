"""A decision as facts: one document fact for its words, one status fact, and edges for everything it touches.

The document is a single-valued fact like any other, so an edited record is a later fact, a mended one a correction, and
both clocks work on a decision's words as they do on everything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from latewood.graph_schema.clock import Micros, from_micros, iso
from latewood.graph_schema.commands import Assert, Command, Declare, Ref
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.ids import IdSource
from latewood.graph_schema.model import Alternative, DecisionStatus, NodeKind
from latewood.graph_schema.values import Json, Value, check_text

__all__ = [
    "ABOUT",
    "BASED_ON",
    "DECIDED_BY",
    "IN_SESSION",
    "LED_TO",
    "OUTCOME",
    "RECORD",
    "STATUS",
    "SUPERSEDES",
    "TRIGGERED_BY",
    "DecisionDraft",
    "DecisionText",
    "decision_commands",
    "edge",
    "read_document",
    "status_assert",
    "text_assert",
]

RECORD: Final = "record"
STATUS: Final = "status"
ABOUT: Final = "about"
BASED_ON: Final = "based_on"
TRIGGERED_BY: Final = "triggered_by"
DECIDED_BY: Final = "decided_by"
IN_SESSION: Final = "in_session"
SUPERSEDES: Final = "supersedes"
LED_TO: Final = "led_to"
OUTCOME: Final = "outcome"

TITLE_CHARS_MAX: Final = 300
ALTERNATIVES_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class DecisionText:
    """The words of a decision: what its document fact holds. Only the title is required."""

    title: str
    question: str | None = None
    choice: str | None = None
    rationale: str | None = None
    consequences: str | None = None
    confidence: float | None = None
    expected_outcome: str | None = None
    alternatives: tuple[Alternative, ...] = ()
    decided_at: Micros | None = None
    extra: Mapping[str, Json] = field(default_factory=dict[str, Json])

    def document(self) -> dict[str, Json]:
        """Write the document, leaving out what is not there.

        Raises:
            InvalidError: for an empty or unstorable title, a confidence outside 0 to 1, too many alternatives.
        """
        if not self.title.strip():
            raise InvalidError("a decision needs a title or a choice in words", code="query.invalid")
        check_text(self.title, "a decision's title", bytes_max=4 * TITLE_CHARS_MAX)
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise InvalidError(f"confidence is {self.confidence}; it lies between 0 and 1", code="query.invalid")
        if len(self.alternatives) > ALTERNATIVES_MAX:
            raise InvalidError(
                f"{len(self.alternatives)} alternatives, more than {ALTERNATIVES_MAX}", code="query.invalid"
            )
        given: dict[str, Json] = {
            "title": self.title,
            "question": self.question,
            "choice": self.choice,
            "rationale": self.rationale,
            "consequences": self.consequences,
            "confidence": self.confidence,
            "expected_outcome": self.expected_outcome,
            "decided_at": None if self.decided_at is None else iso(from_micros(self.decided_at)),
            "alternatives": [
                {"title": one.title, "rejected_because": one.rejected_because} for one in self.alternatives
            ]
            or None,
            "extra": dict(self.extra) or None,
        }
        return {key: value for key, value in given.items() if value is not None}


def _text(document: Mapping[str, Json], key: str) -> str | None:
    value = document.get(key)
    return value if isinstance(value, str) else None


def read_document(document: Mapping[str, Json]) -> DecisionText:
    """Read a document back; `decided_at` is left to the reader of the fact."""
    confidence = document.get("confidence")
    listed = document.get("alternatives")
    alternatives = [
        Alternative(_text(item, "title") or "", _text(item, "rejected_because"))
        for item in (listed if isinstance(listed, list) else [])
        if isinstance(item, dict)
    ]
    extra = document.get("extra")
    return DecisionText(
        title=_text(document, "title") or "",
        question=_text(document, "question"),
        choice=_text(document, "choice"),
        rationale=_text(document, "rationale"),
        consequences=_text(document, "consequences"),
        confidence=float(confidence) if isinstance(confidence, int | float) else None,
        expected_outcome=_text(document, "expected_outcome"),
        alternatives=tuple(alternatives),
        extra=extra if isinstance(extra, dict) else {},
    )


@dataclass(frozen=True, slots=True)
class DecisionDraft:
    """A decision about to be recorded.

    Attributes:
        id: its node's.
        valid_from: when it was taken; None means the instant of recording.
        known: whether that is known.
        evidence: nodes or facts that it rests on.
    """

    id: str
    text: DecisionText
    status: DecisionStatus = DecisionStatus.ACCEPTED
    source_status: str | None = None
    key: str | None = None
    valid_from: Micros | None = None
    known: bool = True
    about: Sequence[Ref] = ()
    evidence: Sequence[Ref] = ()
    decided_by: Sequence[Ref] = ()
    triggered_by: Sequence[Ref] = ()
    supersedes: Sequence[Ref] = ()
    session: Ref | None = None
    locator: str | None = None


def edge(
    ids: IdSource, subject: Ref, predicate: str, target: Ref, *,
    valid_from: Micros | None = None, known: bool = True, locator: str | None = None,
) -> Assert:  # fmt: skip
    """Assert one edge of a decision."""
    return Assert(
        ids.new(), subject, predicate, object=target, relation=True, valid_from=valid_from, known=known, locator=locator
    )


def text_assert(
    ids: IdSource, subject: Ref, text: DecisionText, *,
    valid_from: Micros | None = None, known: bool = True, locator: str | None = None,
) -> Assert:  # fmt: skip
    """Assert the words of a decision."""
    value = Value.of(text.document(), where="the decision's text")
    return Assert(ids.new(), subject, RECORD, value, valid_from=valid_from, known=known, locator=locator)


def status_assert(
    ids: IdSource, subject: Ref, status: DecisionStatus, *, as_written: str | None = None,
    valid_from: Micros | None = None, known: bool = True, locator: str | None = None,
) -> Assert:  # fmt: skip
    """Assert where a decision stands."""
    return Assert(
        ids.new(), subject, STATUS, Value("text", status.value),
        valid_from=valid_from, known=known, as_written=as_written, locator=locator,
    )  # fmt: skip


def decision_commands(draft: DecisionDraft, ids: IdSource) -> list[Command]:
    """Write the commands that record *draft*: its node, words, status and edges."""
    subject = Ref(id=draft.id)
    start, known, locator = draft.valid_from, draft.known, draft.locator
    commands: list[Command] = [
        Declare(draft.id, NodeKind.DECISION, "decision", draft.key, draft.text.title),
        text_assert(ids, subject, draft.text, valid_from=start, known=known, locator=locator),
        status_assert(
            ids, subject, draft.status, as_written=draft.source_status, valid_from=start, known=known, locator=locator
        ),
    ]
    edges: list[tuple[str, Sequence[Ref]]] = [
        (ABOUT, draft.about),
        (BASED_ON, draft.evidence),
        (DECIDED_BY, draft.decided_by),
        (TRIGGERED_BY, draft.triggered_by),
        (SUPERSEDES, draft.supersedes),
        (IN_SESSION, () if draft.session is None else (draft.session,)),
    ]
    for predicate, targets in edges:
        commands += [
            edge(ids, subject, predicate, target, valid_from=start, known=known, locator=locator) for target in targets
        ]
    return commands
