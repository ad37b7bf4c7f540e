"""Bringing a store that an earlier Latewood wrote to the schema of this one, on purpose and with a trial run."""

from __future__ import annotations

import asyncio

from latewood.graph_schema.errors import NotFoundError
from latewood.memory.opening import file_of
from latewood.storage.upgrades import Upgrade

__all__ = ["migrate"]


async def migrate(url: str, *, dry_run: bool = False, backup: bool = True) -> Upgrade:
    """Bring the store at *url* to this schema; with *dry_run* try every step and keep none.

    Args:
        backup: copy a file beside itself first. Neo4j is backed up by its own tools.

    Raises:
        InvalidError: codes ``store.url_invalid``, ``file.not_a_store``.
        NotFoundError: code ``file.unreadable``; there is no such file.
        UnavailableError: code ``schema.newer``, or whatever keeps the store from being written.
    """
    file = file_of(url)
    if file is not None:
        if not await asyncio.to_thread(file.exists):
            raise NotFoundError(f"there is no database at {str(file)!r}", code="file.unreadable", path=str(file))
        from latewood.storage.sqlite.engine import Engine as SqliteEngine

        sqlite = SqliteEngine(file, sync="full", prepare=lambda _: None)
        try:
            return await sqlite.upgrade(dry_run=dry_run, backup=backup)
        finally:
            await sqlite.close()
    if url == "reference:":
        return Upgrade(url, 1, 1, (), applied=False)
    from latewood.storage.neo4j.database import Address
    from latewood.storage.neo4j.database import Engine as Neo4jEngine
    from latewood.storage.neo4j.migrations import upgrade

    neo4j = Neo4jEngine(Address.parse(url))
    try:
        return await neo4j.call(lambda: upgrade(neo4j, dry_run=dry_run))
    finally:
        await neo4j.close()
