"""Maps that come along, by name: ``--map pep``."""
