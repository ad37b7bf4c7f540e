"""Programs to read and run; each is a test as well."""

__all__: list[str] = []
