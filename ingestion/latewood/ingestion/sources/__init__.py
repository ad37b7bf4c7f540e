"""Where words come from beside records and tables: transcripts, traces, notes, commits, another memory's file.

A source is a generator: it reads its file once, a line or a part at a time, and yields what became of each (`Taken`) or
why nothing did (`Reject`). What a part says is an `Item` with an idempotency key of its own; `Loader` alone writes.
"""
