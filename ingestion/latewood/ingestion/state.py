"""What a space already says of imported decisions, so that an import writes only what is new."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from latewood.graph_schema.decisions import DECIDED_BY, RECORD, STATUS, SUPERSEDES
from latewood.graph_schema.model import DecisionStatus, NodeKind
from latewood.graph_schema.values import Json
from latewood.ingestion.sink import Sink
from latewood.storage.port import PAGE_MAX, FactQuery, NodeQuery

__all__ = ["DELETED", "FILE", "Known", "load_known"]

FILE: Final = "file"
"""The predicate that says in which file an imported decision lies."""
DELETED: Final = "deleted"
"""Its value once the file is gone; the decision stays."""


@dataclass(slots=True)
class Known:
    """The imported decisions of a space, by the identity that their source gives them.

    Attributes:
        nodes: identity to node id.
        keys: identity to the key that it was given; *names* to the title at its declaration.
        folders: identity to the folder that it was imported from, where that was kept.
        texts: identity to the document that holds.
        edges: (successor, predecessor) to the fact of the supersession.
        tombstones: decisions of the space were erased; which ones, their idempotency keys will show.
        erased: identities whose decision was erased: nothing more is written of them.
    """

    nodes: dict[str, str] = field(default_factory=dict[str, str])
    texts: dict[str, Mapping[str, Json]] = field(default_factory=dict[str, Mapping[str, Json]])
    statuses: dict[str, tuple[DecisionStatus, str | None]] = field(
        default_factory=dict[str, tuple[DecisionStatus, str | None]]
    )
    deciders: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    files: dict[str, str] = field(default_factory=dict[str, str])
    edges: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    keys: dict[str, str] = field(default_factory=dict[str, str])
    names: dict[str, str] = field(default_factory=dict[str, str])
    folders: dict[str, str] = field(default_factory=dict[str, str])
    edge_starts: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    tombstones: bool = False
    erased: set[str] = field(default_factory=set[str])
    _alias: dict[str, str] = field(default_factory=dict[str, str])

    def alias(self, ids: Mapping[str, str]) -> None:
        """Learn which ids an earlier run gave to the facts that this one would have made."""
        self._alias.update({mine: theirs for mine, theirs in ids.items() if mine != theirs})

    def rename(self, old: str, new: str) -> None:
        """Let what is known under one identity be known under another."""
        for names in (self.nodes, self.texts, self.statuses, self.files, self.keys, self.names, self.folders):
            if old in names:
                names[new] = names.pop(old)  # type: ignore[assignment, arg-type]
        self.deciders = {(new if identity == old else identity, who) for identity, who in self.deciders}
        for pair in [pair for pair in self.edges if old in pair]:
            self.edges[new if pair[0] == old else pair[0], new if pair[1] == old else pair[1]] = self.edges.pop(pair)

    def real(self, fact_id: str) -> str:
        """Return the id under which a fact is kept."""
        return self._alias.get(fact_id, fact_id)


async def load_known(sink: Sink, *, facts: bool) -> Known:
    """Read which imported decisions the space holds, page by page, and with *facts* what it says of them."""
    known = Known()
    after: str | None = None
    while True:
        page = await sink.store.list_nodes(sink.space, NodeQuery(NodeKind.DECISION, first=PAGE_MAX, after=after))
        owned = {node.id: str(node.attributes["identity"]) for node in page.items if "identity" in node.attributes}
        known.tombstones = known.tombstones or any(node.erased for node in page.items)
        known.nodes.update({identity: node_id for node_id, identity in owned.items()})
        known.keys.update(
            {owned[node.id]: node.key for node in page.items if node.id in owned and node.key is not None}
        )
        for node in page.items:
            if node.id in owned:
                known.names[owned[node.id]] = node.name
                if "folder" in node.attributes:
                    known.folders[owned[node.id]] = str(node.attributes["folder"])
        if owned and facts:
            await _load_facts(sink, known, owned)
        if page.next is None:
            return known
        after = page.next


async def _load_facts(sink: Sink, known: Known, owned: Mapping[str, str]) -> None:
    wanted = [RECORD, STATUS, SUPERSEDES, DECIDED_BY, FILE]
    facts = await sink.store.facts(sink.space, FactQuery(subjects=list(owned), predicates=wanted))
    targets = {fact.object_id for fact in facts if fact.object_id is not None}
    nodes = await sink.store.nodes(sink.space, ids=sorted(targets)) if targets else {}
    for fact in facts:
        identity = owned[fact.subject_id]
        if fact.object_id is not None:
            target = nodes.get(fact.object_id)
            if target is not None and fact.predicate == DECIDED_BY:
                known.deciders.add((identity, target.key or ""))
            elif target is not None and "identity" in target.attributes:
                known.edges[identity, str(target.attributes["identity"])] = fact.id
        elif fact.value is not None and fact.predicate == RECORD:
            known.texts[identity] = cast("dict[str, Json]", fact.value.data)
        elif fact.value is not None and fact.predicate == STATUS:
            known.statuses[identity] = (DecisionStatus(fact.value.text()), fact.as_written)
        elif fact.value is not None:
            known.files[identity] = fact.value.text()
