"""The schema, put together. `python -m latewood.server.graphql.schema` prints it; `--write` renews the file."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Final

import strawberry
from graphql import GraphQLError, validate
from strawberry.extensions import AddValidationRules, MaxTokensLimiter, ParserCache, SchemaExtension, ValidationCache
from strawberry.schema.config import StrawberryConfig
from strawberry.types.execution import ExecutionContext

from latewood.server.graphql.context import Context
from latewood.server.graphql.cost import COST_MAX, cost_of
from latewood.server.graphql.errors import TypedErrors
from latewood.server.graphql.limits import TOKENS_MAX, DocumentLimits, limit_error
from latewood.server.graphql.mutations import Mutation
from latewood.server.graphql.queries import Query
from latewood.server.graphql.scalars import SCALARS
from latewood.server.graphql.subscriptions import Subscription

__all__ = ["SCHEMA_FILE", "main", "print_schema", "schema"]

_CACHED_DOCUMENTS_MAX: Final = 128
_CACHED_CHARS_MAX: Final = 20_000
"""Longest document that is kept, so that what is kept stays small."""
SCHEMA_FILE: Final = "schema.graphql"


class _OwnContext(SchemaExtension):
    """Gives each operation a context of its own: a socket's operations share the one it was opened with."""

    async def on_operation(self) -> AsyncIterator[None]:
        given = self.execution_context.context
        if isinstance(given, Context):
            fresh = given.fresh()
            # A socket outlives the keys of those who opened it.
            await fresh.still()
            self.execution_context.context = fresh
        yield


class _ParsedDocuments(ParserCache):
    """Parses a document once; a malformed one is left to the ordinary step, whose errors become typed."""

    def on_parse(self) -> Iterator[None]:
        if len(self.execution_context.query or "") <= _CACHED_CHARS_MAX:
            with contextlib.suppress(GraphQLError):
                next(iter(super().on_parse()))
        yield


class _JudgedDocuments(ValidationCache):
    """Judges a document once, and with each call's variables what it may cost and whether it is to be trusted."""

    def on_validate(self) -> Iterator[None]:
        called = self.execution_context
        document = called.graphql_document
        if document is None:  # pragma: no cover - nothing is judged that was not parsed
            raise AssertionError(called.query)
        graph = called.schema._schema  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        if len(called.query or "") <= _CACHED_CHARS_MAX:
            next(iter(super().on_validate()))
        else:
            called.pre_execution_errors = validate(graph, document, called.validation_rules)
        if not called.pre_execution_errors:
            if isinstance(called.context, Context) and (refusal := called.context.distrusts(called.query or "")):
                called.pre_execution_errors = [GraphQLError(refusal.message, original_error=refusal)]
            elif cost_of(graph, document, called.variables, called.operation_name) > COST_MAX:
                msg = f"the operation asks for more than {COST_MAX:,} objects; ask for fewer with first:, or nest less"
                called.pre_execution_errors = [limit_error(msg, "COST_MAX", COST_MAX)]
        yield


class _Schema(strawberry.Schema):
    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Log nothing here: `TypedErrors` logs what is ours, and a caller's mistakes are theirs to see."""


schema: Final = _Schema(
    Query,
    Mutation,
    Subscription,
    config=StrawberryConfig(scalar_map=SCALARS),
    extensions=[
        _OwnContext,
        TypedErrors,
        lambda: MaxTokensLimiter(max_token_count=TOKENS_MAX),
        lambda: AddValidationRules([DocumentLimits]),
        lambda: _ParsedDocuments(maxsize=_CACHED_DOCUMENTS_MAX),
        lambda: _JudgedDocuments(maxsize=_CACHED_DOCUMENTS_MAX),
    ],
)


def print_schema() -> str:
    """Return the schema in GraphQL's own language."""
    return schema.as_str().rstrip("\n") + "\n"


def main(arguments: list[str]) -> None:
    """Print the schema, or write it beside this file."""
    if arguments == ["--write"]:
        Path(str(files("latewood.server.graphql") / SCHEMA_FILE)).write_text(print_schema(), encoding="utf-8")
        return
    sys.stdout.write(print_schema())


if __name__ == "__main__":
    main(sys.argv[1:])
