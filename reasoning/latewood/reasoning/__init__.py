"""Getting answers out: decisions, their reasons, and what changed. Reads only, through the store's port."""
