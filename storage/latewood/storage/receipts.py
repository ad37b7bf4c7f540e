"""Receipts as stored text."""

from __future__ import annotations

import json
from typing import cast

from latewood.graph_schema.clock import from_micros, to_micros
from latewood.graph_schema.errors import NotFoundError
from latewood.graph_schema.events import NotHolding, Receipt
from latewood.graph_schema.model import LedgerName
from latewood.graph_schema.values import Json, canonical_json

__all__ = ["no_receipt", "receipt_as_kept", "receipt_from_json", "receipt_to_json"]


def receipt_to_json(receipt: Receipt) -> str:
    """Write a receipt of a kept unit."""
    document: dict[str, Json] = {
        "id": receipt.id,
        "space": receipt.space,
        "ledger": receipt.ledger,
        "seq": receipt.seq,
        "recorded_at": None if receipt.recorded_at is None else to_micros(receipt.recorded_at),
        "subject": receipt.subject,
        "facts": list(receipt.facts),
        "nodes": dict(receipt.nodes),
        "declared": list(receipt.declared),
        "registered": list(receipt.registered),
        "late": receipt.late,
    }
    if receipt.not_holding:
        document["not_holding"] = [
            [
                one.fact_id,
                to_micros(one.valid_from),
                None if one.valid_to is None else to_micros(one.valid_to),
                one.held_by,
            ]
            for one in receipt.not_holding
        ]
    if receipt.erased:
        document["erased"] = dict(receipt.erased)
    return canonical_json(document)


def receipt_from_json(text: str, *, replayed: bool = False) -> Receipt:
    """Read a receipt back."""
    document = json.loads(text)
    stretches = cast("list[tuple[str, int, int | None, str]]", document.get("not_holding", []))
    return Receipt(
        id=document["id"], space=document["space"], state="stored", ledger=cast("LedgerName", document["ledger"]),
        seq=document["seq"],
        recorded_at=None if document["recorded_at"] is None else from_micros(document["recorded_at"]),
        subject=document["subject"], facts=tuple(document["facts"]), nodes=document["nodes"],
        declared=tuple(document["declared"]), registered=tuple(document["registered"]),
        not_holding=tuple(
            NotHolding(fact, from_micros(start), None if end is None else from_micros(end), held_by)
            for fact, start, end, held_by in stretches
        ),
        replayed=replayed, late=document["late"], erased=document.get("erased", {}),
    )  # fmt: skip


def receipt_as_kept(text: object) -> Receipt | None:
    """Read a receipt that may have been spoiled where it is kept; None for what is none."""
    if not isinstance(text, str):
        return None
    try:
        return receipt_from_json(text)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def no_receipt(receipt_id: str, most: int) -> NotFoundError:
    """Say that no write has a receipt; a store keeps its last *most* refusals."""
    asked = receipt_id[:80]
    return NotFoundError(f"no write has the receipt {asked!r}; refusals are kept for the last {most:,}", id=asked)
