"""Which embedder a setting names, and opening it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from latewood.graph_schema.errors import InvalidError
from latewood.ingestion.embedding.endpoint import EndpointEmbedder, named
from latewood.ingestion.embedding.light import LIGHT_MODEL, LightEmbedder
from latewood.ingestion.embedding.port import DIMENSIONS_MAX, Embedder
from latewood.ingestion.embedding.transformer import TransformerEmbedder, folder_or_name

__all__ = ["THREADS_MAX", "Choice", "Kind"]

Kind: TypeAlias = Literal["light", "none", "sentence-transformers", "openai"]

THREADS_MAX: Final = 64
_FORMS: Final = (
    "light, none, sentence-transformers:NAME (or a folder), or openai:MODEL@BASE_URL such as "
    "openai:nomic-embed-text@http://127.0.0.1:11434/v1"
)
_ENDPOINT: Final = re.compile(r"(?P<model>.+)@(?P<url>https?://.+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Choice:
    """An embedder that was chosen, and what it needs; nothing is loaded yet."""

    kind: Kind = "light"
    name: str = ""
    """The model of the kinds that have several."""
    base_url: str = ""
    key: str | None = field(default=None, repr=False)
    threads: int | None = None
    dimensions: int | None = None

    @classmethod
    def read(
        cls, text: str = "light", *, key: str | None = None, threads: int | None = None, dimensions: int | None = None
    ) -> Choice:
        """Read what LATEWOOD_EMBEDDER says.

        Raises:
            InvalidError: code ``setting.invalid``.
        """
        if threads is not None and not 1 <= threads <= THREADS_MAX:
            msg = f"LATEWOOD_EMBEDDER_THREADS is {threads}; it is 1 to {THREADS_MAX}"
            raise InvalidError(msg, code="setting.invalid")
        if dimensions is not None and not 1 <= dimensions <= DIMENSIONS_MAX:
            msg = f"LATEWOOD_EMBEDDER_DIMENSIONS is {dimensions}; it is 1 to {DIMENSIONS_MAX}"
            raise InvalidError(msg, code="setting.invalid")
        kind, _, rest = text.partition(":")
        if text == "light":
            return cls("light", "", "", key, threads, dimensions)
        if text == "none":
            return cls("none", "", "", key, threads, dimensions)
        if kind == "sentence-transformers" and rest.strip():
            return cls("sentence-transformers", rest, "", key, threads, dimensions)
        found = _ENDPOINT.fullmatch(rest) if kind == "openai" else None
        if found is None:
            # Shown up to the address only: what follows may hold a password.
            msg = f"LATEWOOD_EMBEDDER is {text.partition('@')[0]!r}; it is {_FORMS}"
            raise InvalidError(msg, code="setting.invalid")
        return cls("openai", found["model"], _address(found["url"]), key, threads, dimensions)

    @property
    def label(self) -> str:
        """The choice as one would set it."""
        if self.kind == "openai":
            return f"openai:{self.name}@{self.base_url}"
        return f"{self.kind}:{self.name}" if self.name else self.kind

    @property
    def model(self) -> str | None:
        """The model's name as its vectors carry it, without loading it; None without an embedder."""
        if self.kind == "light":
            return LIGHT_MODEL
        if self.kind == "openai":
            return named(self.name, self.dimensions)
        return folder_or_name(self.name) if self.kind == "sentence-transformers" else None

    def open(self) -> Embedder:
        """Load the embedder; not for ``none``.

        Raises:
            InvalidError: code ``setting.invalid`` for ``none``, which has no embedder.
            RefusedError: codes ``embedder.missing``, ``embedder.model_differs``.
        """
        if self.kind == "light":
            return LightEmbedder(threads=self.threads)
        if self.kind == "sentence-transformers":
            return TransformerEmbedder(self.name)
        if self.kind == "openai":
            return EndpointEmbedder(self.name, self.base_url, key=self.key, dimensions=self.dimensions)
        msg = f"no embedder is chosen; set LATEWOOD_EMBEDDER to {_FORMS}"
        raise InvalidError(msg, code="setting.invalid")


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, secret, _ = parts.hostname, parts.password, parts.port
    except ValueError as error:
        msg = f"the address in LATEWOOD_EMBEDDER cannot be read: {error}; it is such as http://host:8080/v1"
        raise InvalidError(msg, code="setting.invalid") from error
    if secret is not None or parts.username is not None:
        msg = "the address in LATEWOOD_EMBEDDER holds a user or a password; give the key in LATEWOOD_EMBEDDER_KEY"
        raise InvalidError(msg, code="setting.invalid")
    if not host or parts.query or parts.fragment:
        msg = f"the address {url!r} in LATEWOOD_EMBEDDER is not one such as http://host:8080/v1"
        raise InvalidError(msg, code="setting.invalid")
    return url.rstrip("/")
