"""The verbs of `Memory` over HTTP: one server, one space, one writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Literal, Self, TypeVar, cast

from latewood.clients.remote.answers import (
    ErasureReport,
    IngestReport,
    MadeSpace,
    Merge,
    ReindexReport,
    Space,
    Split,
    Written,
)
from latewood.clients.remote.calls import Call, valued
from latewood.clients.remote.found import DetectReport
from latewood.clients.remote.messages import RemoteMessages
from latewood.clients.remote.reading import Identified, RemoteReader, said
from latewood.clients.remote.runs import RemoteRuns
from latewood.clients.remote.shapes import decode
from latewood.clients.remote.taken_back import Retraction
from latewood.clients.remote.transport import AsyncTransport, Patience, Transport, endpoint
from latewood.graph_schema.commands import SourceSpec
from latewood.graph_schema.given import checked
from latewood.graph_schema.model import Alternative, DecisionStatus, Trust
from latewood.graph_schema.patterns import PatternReview
from latewood.graph_schema.values import Scalar

__all__ = ["RemoteMemory"]

T = TypeVar("T")


def _all(things: Sequence[Identified]) -> list[str] | None:
    return [said(one) for one in things] or None


def _from(source: str | SourceSpec | None) -> dict[str, object]:
    """Return where it comes from as arguments."""
    if isinstance(source, SourceSpec):
        method = source.method if source.method != "asserted" else None
        return {
            "source": source.origin, "method": method, "model": source.model, "prompt_version": source.prompt_version
        }  # fmt: skip
    return {"source": source}


@checked
class RemoteMemory(RemoteReader):
    """A handle on one space of a server.

    ``async with RemoteMemory.open("https://memory.example", token=...) as memory: ...``

    The verbs are those of `latewood.memory.Memory`, and raise the same errors. Every write has an idempotency key, made
    up where none is given, so that a call whose answer was lost is made again and still writes once.
    """

    def __init__(
        self, transport: Transport, *, space: str | None = None, by: str | None = None, session: str | None = None
    ) -> None:
        """Use `open` or `within`."""
        super().__init__(transport, space, by, session)

    @classmethod
    def open(
        cls, url: str, *, token: str | None = None, space: str | None = None, by: str | None = None,
        session: str | None = None, patience: Patience | None = None,
    ) -> Self:  # fmt: skip
        """Name the server to speak to; nothing is sent before the first verb.

        Args:
            url: such as ``http://127.0.0.1:8000``.
            token: the credential; the server decides what it may do, and for whom it writes.
            by: the actor who writes, where the server lets a caller say so.

        Raises:
            InvalidError: code ``setting.invalid`` for what is no address.
        """
        transport = AsyncTransport(endpoint(url), token, patience or Patience())
        return cls(transport, space=space, by=by, session=session)

    def within(self, *, space: str | None = None, by: str | None = None, session: str | None = None) -> Self:
        """Return another handle over the same connections; what is not given stays as it is."""
        return type(self)(
            self._transport, space=space or self._space, by=by or self._by, session=session or self._session
        )

    @property
    def messages(self) -> RemoteMessages:
        """The messages of the handle's space, sent and received in its name."""
        return RemoteMessages(self._transport, self._space, self._by, self._session)

    @property
    def runs(self) -> RemoteRuns:
        """The runs of the handle's space, for an agent that runs them here."""
        return RemoteRuns(self._transport, self._space, self._by, self._session)

    async def close(self) -> None:
        """Let go of the connections, of every handle over them."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        """Enter the block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    def _writer(
        self, by: str | None, session: str | None, source: str | SourceSpec | None, key: str | None
    ) -> dict[str, object]:
        return {
            "by": by or self._by, "session": session or self._session, "idempotency_key": key, **_from(source)
        }  # fmt: skip

    async def decide(
        self, choice: str, *, because: str | None, title: str | None = None, question: str | None = None,
        about: Sequence[Identified] = (), evidence: Sequence[Identified] = (), trigger: Sequence[Identified] = (),
        alternatives: Sequence[Alternative] = (), supersedes: Sequence[Identified] = (),
        consequences: str | None = None, confidence: float | None = None, expected: str | None = None,
        status: DecisionStatus = DecisionStatus.ACCEPTED, key: str | None = None, decided_at: datetime | None = None,
        decided_by: Sequence[Identified] = (), by: str | None = None, session: str | None = None,
        source: str | SourceSpec | None = None, idempotency_key: str | None = None,
    ) -> Written:  # fmt: skip
        """Record a decision with its reasons."""
        rejected = [{"title": one.title, "rejected_because": one.rejected_because} for one in alternatives]
        given = {
            "choice": choice, "because": because, "title": title, "question": question, "about": _all(about),
            "evidence": _all(evidence), "trigger": _all(trigger), "alternatives": rejected or None,
            "supersedes": _all(supersedes), "consequences": consequences, "confidence": confidence,
            "expected": expected, "status": status, "key": key, "decided_at": decided_at,
            "decided_by": _all(decided_by), **self._writer(by, session, source, idempotency_key),
        }  # fmt: skip
        return await self._write("decide", Written, given)

    async def observe(
        self, subject: Identified, predicate: str, value: Scalar, *, unit: str | None = None,
        valid_from: datetime | None = None, valid_to: datetime | None = None, as_written: str | None = None,
        quote: str | None = None, by: str | None = None, session: str | None = None,
        source: str | SourceSpec | None = None, trust: Trust | None = None, expected_version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Written:  # fmt: skip
        """Assert that *predicate* of *subject* is *value*, from *valid_from* (now) until *valid_to* (open)."""
        given = {
            "subject": said(subject), "predicate": predicate, **valued(value), "unit": unit, "valid_from": valid_from,
            "valid_to": valid_to, "as_written": as_written, "quote": quote, "trust": trust,
            "expected_version": expected_version, **self._writer(by, session, source, idempotency_key),
        }  # fmt: skip
        return await self._write("observe", Written, given)

    async def relate(
        self, subject: Identified, predicate: str, target: Identified, *, valid_from: datetime | None = None,
        valid_to: datetime | None = None, quote: str | None = None, by: str | None = None,
        session: str | None = None, source: str | SourceSpec | None = None, trust: Trust | None = None,
        expected_version: int | None = None, idempotency_key: str | None = None,
    ) -> Written:  # fmt: skip
        """Assert a relation of *subject* to *target*."""
        given = {
            "subject": said(subject), "predicate": predicate, "target": said(target), "valid_from": valid_from,
            "valid_to": valid_to, "quote": quote, "trust": trust, "expected_version": expected_version,
            **self._writer(by, session, source, idempotency_key),
        }  # fmt: skip
        return await self._write("relate", Written, given)

    async def correct(
        self, fact: Identified, value: Scalar | None = None, *, target: Identified | None = None,
        unit: str | None = None, valid_from: datetime | None = None, valid_to: datetime | None = None,
        because: str | None = None, by: str | None = None, session: str | None = None,
        source: str | SourceSpec | None = None, idempotency_key: str | None = None,
    ) -> Written:  # fmt: skip
        """Say that *fact* was never so, and what was."""
        given = {
            "fact": said(fact), **valued(value), "target": None if target is None else said(target), "unit": unit,
            "valid_from": valid_from, "valid_to": valid_to, "because": because,
            **self._writer(by, session, source, idempotency_key),
        }  # fmt: skip
        return await self._write("correct", Written, given)

    async def end(
        self, fact: Identified, *, at: datetime | None = None, because: str | None = None, by: str | None = None,
        session: str | None = None, source: str | SourceSpec | None = None, idempotency_key: str | None = None,
    ) -> Written:  # fmt: skip
        """Say that *fact* stopped being true, and nothing followed it."""
        given = {"fact": said(fact), "at": at, "because": because}
        return await self._write("end", Written, {**given, **self._writer(by, session, source, idempotency_key)})

    async def retract(
        self, fact: Identified, *, because: str | None = None, by: str | None = None, session: str | None = None,
        source: str | SourceSpec | None = None, idempotency_key: str | None = None,
    ) -> Written:  # fmt: skip
        """Say that *fact* was never true: what it displaced holds again."""
        given = {"fact": said(fact), "because": because}
        return await self._write("retract", Written, {**given, **self._writer(by, session, source, idempotency_key)})

    async def retract_all(
        self, *, because: str, said_by: Identified | None = None, said_in: Identified | None = None,
        read_from: str | None = None, since: datetime | None = None, until: datetime | None = None,
        dry_run: bool = False, after: str | None = None, by: str | None = None, session: str | None = None,
    ) -> Retraction:  # fmt: skip
        """Say that nothing an actor, a session or a source said was ever true. Called again, it takes what is left."""
        given = {
            "because": because, "said_by": None if said_by is None else said(said_by),
            "said_in": None if said_in is None else said(said_in), "read_from": read_from, "since": since,
            "until": until, "dry_run": dry_run, "after": after, "by": by or self._by,
            "session": session or self._session,
        }  # fmt: skip
        return await self._write("retract_all", Retraction, given, keyed=False, again=True)

    async def supersede(
        self, old: Identified, new: Identified, *, at: datetime | None = None, by: str | None = None,
        session: str | None = None, source: str | SourceSpec | None = None, idempotency_key: str | None = None,
    ) -> Written:  # fmt: skip
        """Let decision *new* take the place of *old*."""
        given = {"old": said(old), "new": said(new), "at": at}
        return await self._write("supersede", Written, {**given, **self._writer(by, session, source, idempotency_key)})

    async def erase(
        self, target: Identified, *, reason: str, by: str | None = None, session: str | None = None,
        source: str | SourceSpec | None = None, idempotency_key: str | None = None,
    ) -> ErasureReport:  # fmt: skip
        """Let the words of *target*, a fact or a node with everything about it, be gone for good."""
        given = {"target": said(target), "reason": reason}
        return await self._write(
            "erase", ErasureReport, {**given, **self._writer(by, session, source, idempotency_key)}
        )  # fmt: skip

    async def merge(
        self, absorbed: Identified, into: Identified, *, reason: str, dry_run: bool = False, by: str | None = None,
        session: str | None = None, idempotency_key: str | None = None,
    ) -> Merge:  # fmt: skip
        """Say that *absorbed* is *into* under another name: its facts move there. `split` undoes it."""
        given = {"absorbed": said(absorbed), "into": said(into), "reason": reason, "dry_run": dry_run}
        return await self._write("merge", Merge, {**given, **self._writer(by, session, None, idempotency_key)})

    async def split(
        self, absorbed: Identified, *, reason: str, dry_run: bool = False, by: str | None = None,
        session: str | None = None, idempotency_key: str | None = None,
    ) -> Split:  # fmt: skip
        """Undo a merge: *absorbed* is one of its own again."""
        given = {"absorbed": said(absorbed), "reason": reason, "dry_run": dry_run}
        return await self._write("split", Split, {**given, **self._writer(by, session, None, idempotency_key)})

    async def alias(
        self, thing: Identified, key: str, *, reason: str = "an alias", by: str | None = None,
        session: str | None = None,
    ) -> Merge:  # fmt: skip
        """Give *thing* another key; `split` takes it back. `absorbed` lists those that it has."""
        given = {"thing": said(thing), "alias": key, "reason": reason, "by": by or self._by}
        return await self._write(
            "alias", Merge, {**given, "session": session or self._session}, keyed=False, again=True
        )

    async def accept(self, proposal: Identified, *, by: str | None = None, session: str | None = None) -> Written:
        """Write what a proposal says, and settle it. Raises ConflictError (``proposal.settled``)."""
        given = {"proposal": said(proposal), "by": by or self._by, "session": session or self._session}
        return await self._write("accept_proposal", Written, given, keyed=False)

    async def reject(
        self, proposal: Identified, *, because: str, by: str | None = None, session: str | None = None
    ) -> Written:
        """Settle a proposal as not so, for a reason. Raises as `accept` does."""
        given = {"proposal": said(proposal), "because": because, "by": by or self._by}
        return await self._write(
            "reject_proposal", Written, {**given, "session": session or self._session}, keyed=False
        )  # fmt: skip

    async def ingest(
        self, source: Literal["transcript", "trace", "notes", "memory"], files: Mapping[str, str], *,
        name: str | None = None, form: Literal["claude", "codex", "responses"] | None = None,
        human: str | None = None, author: str | None = None, session: str | None = None, dry_run: bool = False,
    ) -> IngestReport:  # fmt: skip
        """Send *files*, texts by their names, to be taken in as `latewood ingest` does; again, they write nothing.

        Args:
            name: of the whole; edited notes under the same name take the place of the old.
            form: of transcripts; else the first lines tell it.
            human: the actor whose the turns of users are.
            author: whose notes they are, or who kept the memory; the caller unless given.
        """
        given = {
            "source": source.upper(), "files": [{"name": one, "text": text} for one, text in files.items()],
            "name": name, "form": form and form.upper(), "human": human, "author": author, "session": session,
            "dry_run": dry_run,
        }  # fmt: skip
        return await self._write("ingest", IngestReport, given, keyed=False, again=True)

    async def reindex(self, *, keep_old: bool = False) -> ReindexReport:
        """Make the vectors that are missing, with the server's own embedder."""
        return await self._write("reindex", ReindexReport, {"keep_old": keep_old}, keyed=False, again=True)

    async def detect_patterns(self) -> DetectReport:
        """Look for patterns in all series, and keep what is found; the same data again writes nothing."""
        given = {"space": ("String", self._space)}
        call = Call("detectPatterns", DetectReport, given, operation="mutation", again=True)
        return cast("DetectReport", decode(DetectReport, await self._call(call)))

    async def review_pattern(
        self, thing: Identified, verdict: PatternReview, *, because: str, by: str | None = None,
        session: str | None = None,
    ) -> Written:  # fmt: skip
        """Accept, mute or reject a pattern, for a reason."""
        given = {
            "pattern": said(thing), "verdict": verdict, "because": because, "by": by or self._by,
            "session": session or self._session,
        }  # fmt: skip
        return await self._write("review_pattern", Written, given, keyed=False)

    async def create_space(self, name: str, *, strict: bool = False) -> Space:
        """Make a space."""
        given = {"name": name, "strict": strict}
        return (await self._write("create_space", MadeSpace, given, keyed=False, spaced=False)).space
