"""Trusted documents: a server that runs only operations that it was told of beforehand.

A document is asked for by its id, `{"documentId": "sha256:…", "variables": {…}}`, or by its exact text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

from graphql import GraphQLError, parse, validate

from latewood.graph_schema.errors import InvalidError, NotFoundError
from latewood.server.graphql.schema import schema

__all__ = ["DOCUMENTS_MAX", "TrustedDocuments"]

DOCUMENTS_MAX: Final = 10_000
"""Most documents of a list."""
_FILE_BYTES_MAX: Final = 20_000_000


class TrustedDocuments:
    """The operations that may be run, by id."""

    def __init__(self, documents: Mapping[str, str]) -> None:
        """Take documents by the ids that clients know them by; each goes by ``sha256:`` and its digest as well.

        Raises:
            InvalidError: code ``setting.invalid`` for a document that the schema does not answer.
        """
        self._by_id: dict[str, str] = {}
        self._texts = frozenset(documents.values())
        for name, text in documents.items():
            try:
                faults = validate(schema._schema, parse(text))  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
            except GraphQLError as error:
                faults = [error]
            if faults:
                msg = f"the trusted document {name[:80]!r} is not valid: {faults[0].message}"
                raise InvalidError(msg, code="setting.invalid", document=name)
            self._by_id[name] = text
            self._by_id["sha256:" + hashlib.sha256(text.encode()).hexdigest()] = text

    @classmethod
    def read(cls, path: Path) -> TrustedDocuments:
        """Read a JSON object of ids and texts, as persisted-document tools write it.

        Raises:
            InvalidError: codes ``file.unreadable``, ``setting.invalid``.
        """
        try:
            size = path.stat().st_size
            found: object = None if size > _FILE_BYTES_MAX else json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InvalidError(f"{path} cannot be read: {error.strerror}", code="file.unreadable") from error
        except (ValueError, RecursionError) as error:
            raise InvalidError(f"{path} is no JSON: {error}", code="setting.invalid") from error
        documents = cast("dict[str, object]", found) if isinstance(found, dict) else {}
        texts = {name: text for name, text in documents.items() if isinstance(text, str)}
        if not texts or len(texts) != len(documents) or len(texts) > DOCUMENTS_MAX:
            msg = f'{path} is no list of documents: one JSON object, {{"id": "query …"}}, with 1 to {DOCUMENTS_MAX:,}'
            raise InvalidError(msg, code="setting.invalid")
        return cls(texts)

    def text(self, document_id: str) -> str:
        """Return a document. Raises NotFoundError (``document.unknown``)."""
        found = self._by_id.get(document_id)
        if found is None:
            raise _unknown(f"no trusted document has the id {document_id[:100]!r}")
        return found

    def check(self, text: str) -> None:
        """Refuse what is on no list. Raises NotFoundError (``document.unknown``)."""
        if text not in self._texts:
            raise _unknown("this server runs trusted documents only, and this is none of them")


def _unknown(message: str) -> NotFoundError:
    msg = f"{message}; send its documentId, or have it put on the server's list (`latewood serve --documents`)"
    return NotFoundError(msg, code="document.unknown")
