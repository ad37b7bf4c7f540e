"""Getting words in: decision records and tables."""
