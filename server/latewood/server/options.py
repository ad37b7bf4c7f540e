"""How a server is set up, beside the memory that it serves."""

from __future__ import annotations

from dataclasses import dataclass

from latewood.server.graphql.documents import TrustedDocuments

__all__ = ["ServerOptions"]


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What may be set from outside.

    Attributes:
        trusted: the only GraphQL documents that are run; None for any.
    """

    trusted: TrustedDocuments | None = None
