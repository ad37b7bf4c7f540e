"""A Neo4j of one's own, without Docker: assembled from Maven Central, started and stopped here."""

from latewood.clients.neo4j_local.server import Running, Stopped, Wanted, down, status, up

__all__ = ["Running", "Stopped", "Wanted", "down", "status", "up"]
