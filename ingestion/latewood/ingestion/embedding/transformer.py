"""Any sentence-transformers model, by name or by folder; on a GPU when there is one. Needs an extra."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, Final

from latewood.graph_schema.errors import RefusedError
from latewood.ingestion.embedding.port import DIMENSIONS_MAX, Vector, cut

__all__ = ["TransformerEmbedder", "folder_or_name"]

_BATCH_TEXTS_MAX: Final = 32
_EXTRA: Final = "pip install 'latewood[sentence-transformers]'"


def _loaded(name: str) -> Any:  # the library's own type would load it for whoever reads the annotation
    try:
        library: Any = import_module("sentence_transformers")  # by name: most installs do not have it
    except ImportError as error:
        msg = f"the embedder sentence-transformers:{name} needs an extra that cannot be loaded: {error}; run: {_EXTRA}"
        raise RefusedError(msg, code="embedder.missing", package="sentence-transformers") from error
    try:
        return library.SentenceTransformer(name)
    # The library has no tree of its own: a name that is not there, a broken file and a refused download all differ.
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        msg = (
            f"the model {name!r} cannot be loaded: {reason}; name a folder with a sentence-transformers model, "
            "or a model that is in the local cache or can be downloaded"
        )
        raise RefusedError(msg, code="embedder.missing", model=name) from error


def folder_or_name(name: str) -> str:
    """Return what vectors of the model *name* are told apart by.

    A folder by its last part: the same model may lie elsewhere on another machine.
    """
    return Path(name).resolve().name if Path(name).is_dir() else name


class TransformerEmbedder:
    """A sentence-transformers model in this process."""

    def __init__(self, name: str) -> None:
        """Load the model *name*: a folder, or a name that the library finds in its cache or downloads.

        Raises:
            RefusedError: codes ``embedder.missing``, ``embedder.answer_invalid``.
        """
        self._loaded = _loaded(name)
        self._turn = Lock()
        self._model = folder_or_name(name)
        found = len(self.embed(["latewood"])[0]) // 4
        if not 0 < found <= DIMENSIONS_MAX:
            msg = f"the model {name!r} makes vectors of {found} numbers; at most {DIMENSIONS_MAX} are kept"
            raise RefusedError(msg, code="embedder.answer_invalid", dimensions=found)
        self._dimensions = found

    @property
    def model(self) -> str:
        """The model's name."""
        return self._model

    @property
    def dimensions(self) -> int:
        """How many numbers each vector has."""
        return self._dimensions

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Return the vector of each text. Raises as `Embedder.embed` does."""
        parts = cut(texts)
        if not parts:
            return []
        with self._turn:
            rows = self._loaded.encode(
                parts, batch_size=_BATCH_TEXTS_MAX, normalize_embeddings=True, convert_to_numpy=True,
                show_progress_bar=False,
            )  # fmt: skip
        return [row.astype("<f4").tobytes() for row in rows]
