"""What an operation may come to, estimated from the `first` of its lists before any of it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
)
from graphql.language import FieldNode, FragmentSpreadNode, InlineFragmentNode, IntValueNode, VariableNode

from latewood.storage.port import PAGE_MAX

__all__ = ["COST_MAX", "cost_of"]

COST_MAX: Final = 250_000
"""Most objects that an operation's lists may ask for together, each list counted as long as its `first`."""


class _Estimate:
    """One operation of a document. A fragment is counted once for each type that it is spread on."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, variables: Mapping[str, object]) -> None:
        self._schema = schema
        self._variables = variables
        self._fragments = {
            one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)
        }
        self._known: dict[str, int] = {}

    def of(self, selections: SelectionSetNode | None, on: GraphQLNamedType | None) -> int:
        """Count the objects below *selections* of one object of the type *on*."""
        total = 0
        for one in selections.selections if selections is not None else ():
            if isinstance(one, FieldNode):
                total += self._field(one, on)
            elif isinstance(one, InlineFragmentNode):
                named = one.type_condition
                total += self.of(one.selection_set, on if named is None else self._schema.get_type(named.name.value))
            elif isinstance(one, FragmentSpreadNode):
                total += self._spread(one.name.value)
            if total > COST_MAX:
                # Further than this nobody asks, and the product of a few `first` has no end.
                return COST_MAX + 1
        return total

    def _spread(self, name: str) -> int:
        if name not in self._known:
            fragment = self._fragments[name]
            self._known[name] = self.of(
                fragment.selection_set, self._schema.get_type(fragment.type_condition.name.value)
            )
        return self._known[name]

    def _field(self, node: FieldNode, on: GraphQLNamedType | None) -> int:
        if not isinstance(on, GraphQLObjectType | GraphQLInterfaceType):
            return 0
        field = cast("Mapping[str, GraphQLField]", on.fields).get(node.name.value)
        if field is None or node.selection_set is None:
            # A scalar comes with its object, and introspection is bounded by the schema.
            return 0
        below = self.of(node.selection_set, _named(field))
        return min((1 + below) * self._first(node, field), COST_MAX + 1)

    def _first(self, node: FieldNode, field: GraphQLField) -> int:
        """Return how long a list is that *field* names: its `first`, where it has one."""
        if "first" not in field.args:
            return 1
        asked: object = field.args["first"].default_value
        for argument in node.arguments or ():
            if argument.name.value == "first":
                asked = self._value(argument.value)
        # What is no number, or none that a list may be asked for, is refused where the list is read.
        return min(max(asked, 1), PAGE_MAX) if isinstance(asked, int) else 1

    def _value(self, value: Any) -> object:
        if isinstance(value, IntValueNode):
            return int(value.value)
        return self._variables.get(value.name.value) if isinstance(value, VariableNode) else None


def _named(field: GraphQLField) -> GraphQLNamedType:
    return cast("GraphQLNamedType", get_named_type(cast("Any", field).type))


def _defaults(operation: OperationDefinitionNode) -> dict[str, object]:
    return {
        one.variable.name.value: int(one.default_value.value)
        for one in operation.variable_definitions or ()
        if isinstance(one.default_value, IntValueNode)
    }


def cost_of(
    schema: GraphQLSchema, document: DocumentNode, variables: Mapping[str, object] | None, name: str | None
) -> int:
    """Estimate how many objects the operation *name* of a valid *document* asks for, up to one more than `COST_MAX`.

    Lists without `first` count as one: how long those may get together is bounded as they are read (`OBJECTS_MAX`).
    """
    operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    highest = 0
    for operation in operations:
        if name is None or (operation.name is not None and operation.name.value == name):
            given = {**_defaults(operation), **(variables or {})}
            root = schema.get_root_type(operation.operation)
            highest = max(highest, _Estimate(schema, document, given).of(operation.selection_set, root))
    return highest
