"""Writes docs/reference/graphql.md from the checked-in schema: prints it, or writes it with --write.

It reads schema.graphql alone, so it needs nothing of Latewood installed but graphql-core.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    Undefined,
    build_schema,
    print_ast,
)

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "server/latewood/server/graphql/schema.graphql"
PAGE = ROOT / "docs/reference/graphql.md"
BUILT_IN = frozenset({"Boolean", "Float", "ID", "Int", "String"})

HEAD = """\
# GraphQL

<!-- Written by docs/graphql_reference.py from the schema; do not edit. -->

`latewood serve` answers at `/graphql`: queries by GET and POST, mutations by POST, subscriptions over
`graphql-transport-ws` or as server-sent events. In a browser the same address shows GraphiQL. GraphiQL's scripts come
from unpkg.com; without the net a plain editor takes its place.

- Every read of a space takes `space` (left out: `default`) and `asOf`, the two clocks (left out: now).
- Lists are Relay connections: `first` (1 to 1,000) and `after`, any edge's cursor.
- Ids are UUIDs, the same in every store and on every surface.
- A decision, entity, fact or receipt that is not there is `null`. What cannot be answered is an error with
  `extensions { code branch details }`; the codes are those of every surface (errors.md). `branch` says what to do:
  `refused` (mend the input), `unavailable` (try again), `corrupt` (stop, run `latewood doctor`), `internal` (its id is in
  the log).
- Field names and values are those of `--json` and of Python, in camelCase. Three things differ: the members of enums
  are in upper case here, a page is a connection, and the times of a ledger's rows are DateTimes, not microseconds.
- Bounds: a document has at most 5,000 tokens, 50 aliases and 15 levels; an answer's lists have at most 100,000 objects
  together; a request has at most 4,000,000 bytes. Before an operation runs, each list is counted as long as its `first`
  says: it may come to 250,000 objects.
- Trusted documents: `latewood serve --documents FILE` takes a JSON object of ids and operations, and then runs nothing
  else, introspection neither. A request names one by its id or its digest, `{"documentId": "sha256:…", "variables": {…}}`,
  over HTTP and sockets alike, or sends its exact text.
- Without `--auth` no credential is asked for, the server binds loopback only, and refuses foreign `Host` and `Origin` headers.
  With it a [key](../guide/keys.md) or token comes as `Authorization: Bearer`, over a socket in the payload of
  `connection_init` too; without one that counts the answer is 401, a socket is closed with 4403.

```graphql
{
  decision(key: "adr:12", asOf: { knownAt: "2026-03-01T00:00:00Z" }) {
    title status rationale alternatives { title rejectedBecause } supersededBy { key }
  }
}
```
"""


def default(value: Any) -> str:
    """Show a default, where there is one that says something."""
    given = getattr(value, "default_value", Undefined)
    node = value.ast_node.default_value if value.ast_node is not None else None
    return "" if given in (Undefined, None) or node is None else f" = `{print_ast(node)}`"


def cell(text: str | None) -> str:
    """Write a description as the cell of a table."""
    return " ".join((text or "").split()).replace("|", "\\|")


def arguments(arguments: Mapping[str, Any]) -> Iterator[str]:
    """List a field's arguments."""
    for name, argument in arguments.items():
        yield f"- `{name}`: `{argument.type}`{default(argument)}. {cell(argument.description)}".rstrip()


def root(title: str, kind: GraphQLObjectType) -> Iterator[str]:
    """Write a section of verbs."""
    yield f"## {title}"
    for name, field in kind.fields.items():
        yield f"### {name}"
        yield f"{cell(field.description)} Answers `{field.type}`."
        if field.args:
            yield "\n".join(arguments(field.args))


def table(kind: GraphQLNamedType) -> Iterator[str]:
    """Write a type with its fields or members."""
    yield f"### {kind.name}"
    yield cell(kind.description)
    rows: list[str] = []
    if isinstance(kind, GraphQLEnumType):
        rows = [f"| `{name}` | {cell(value.description)} |" for name, value in kind.values.items()]
        yield "\n".join(["| member | meaning |", "| --- | --- |", *rows])
    elif isinstance(kind, GraphQLInputObjectType):
        rows = [
            f"| `{name}` | `{field.type}`{default(field)} | {cell(field.description)} |"
            for name, field in kind.fields.items()
        ]
        yield "\n".join(["| field | type | meaning |", "| --- | --- | --- |", *rows])
    elif isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
        for name, field in kind.fields.items():
            taken = f"({', '.join(field.args)})" if field.args else ""
            rows.append(f"| `{name}{taken}` | `{field.type}` | {cell(field.description)} |")
        yield "\n".join(["| field | type | meaning |", "| --- | --- | --- |", *rows])


def page(schema: GraphQLSchema) -> str:
    """Write the page."""
    roots = {"Queries": schema.query_type, "Mutations": schema.mutation_type, "Subscriptions": schema.subscription_type}
    parts = [HEAD.rstrip()]
    for title, kind in roots.items():
        if kind is not None:
            parts += root(title, kind)
    others = [
        kind
        for name, kind in sorted(schema.type_map.items())
        if not name.startswith("__") and name not in BUILT_IN and kind not in roots.values()
    ]
    groups: list[tuple[str, tuple[type, ...]]] = [
        ("Types", (GraphQLObjectType, GraphQLInterfaceType)), ("Inputs", (GraphQLInputObjectType,)),
        ("Enums", (GraphQLEnumType,)), ("Scalars", (GraphQLScalarType,)),
    ]  # fmt: skip
    for title, kinds in groups:
        parts.append(f"## {title}")
        for kind in others:
            if isinstance(kind, kinds):
                parts += table(kind)
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Print the page, or write it."""
    text = page(build_schema(SCHEMA.read_text(encoding="utf-8")))
    if sys.argv[1:] == ["--write"]:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
