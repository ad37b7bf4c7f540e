"""The shared store: the port over one Neo4j database."""
