"""Domain packs as data, and their loader."""
