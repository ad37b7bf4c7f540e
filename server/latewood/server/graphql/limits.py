"""What a document may ask for, judged before any of it runs."""

from __future__ import annotations

from typing import Any, Final

from graphql import FragmentDefinitionNode, GraphQLError, OperationDefinitionNode, SelectionSetNode, ValidationContext
from graphql.language import FieldNode, FragmentSpreadNode, InlineFragmentNode
from graphql.validation import ASTValidationRule

__all__ = ["ALIASES_MAX", "DEPTH_MAX", "TOKENS_MAX", "DocumentLimits", "limit_error"]

DEPTH_MAX: Final = 15
"""Deepest nesting of fields."""
ALIASES_MAX: Final = 50
"""Most aliased fields of a document."""
TOKENS_MAX: Final = 5_000
"""Most tokens of a document."""


def limit_error(message: str, limit: str, maximum: int, node: Any = None) -> GraphQLError:
    """Make the error that a bound was met."""
    details = {"limit": limit, "maximum": maximum}
    extensions = {"code": "limit.exceeded", "branch": "refused", "details": details}
    return GraphQLError(message, nodes=node, extensions=extensions)


class DocumentLimits(ASTValidationRule):
    """Bounds depth and aliases.

    Each fragment is measured once, so a document whose fragments spread each other twice, twenty deep, costs twenty
    steps and not a million.
    """

    def __init__(self, context: ValidationContext) -> None:
        """Measure the document of *context*."""
        super().__init__(context)
        definitions = context.document.definitions
        self._fragments = {one.name.value: one for one in definitions if isinstance(one, FragmentDefinitionNode)}
        self._depths: dict[str, int] = {}
        self._aliases = 0
        operations = [one for one in definitions if isinstance(one, OperationDefinitionNode)]
        deepest = max((self._depth(one.selection_set) for one in operations), default=0)
        for name in self._fragments:
            self._fragment(name)
        if deepest > DEPTH_MAX:
            msg = f"the operation is {deepest} fields deep, more than {DEPTH_MAX}; ask for less at once"
            context.report_error(limit_error(msg, "DEPTH_MAX", DEPTH_MAX))
        if self._aliases > ALIASES_MAX:
            msg = f"the document has {self._aliases} aliases, more than {ALIASES_MAX}; send several operations"
            context.report_error(limit_error(msg, "ALIASES_MAX", ALIASES_MAX))

    def _fragment(self, name: str) -> int:
        if name not in self._depths:
            # Set first: another rule refuses a fragment that spreads itself; it must not send this one in circles.
            self._depths[name] = 0
            fragment = self._fragments.get(name)
            self._depths[name] = 0 if fragment is None else self._depth(fragment.selection_set)
        return self._depths[name]

    def _depth(self, selections: SelectionSetNode | None) -> int:
        deepest = 0
        for one in selections.selections if selections is not None else ():
            if isinstance(one, FieldNode):
                self._aliases += one.alias is not None
                # Introspection nests deep by its nature, and is bounded by the schema.
                own = 1 if one.name.value.startswith("__") else 1 + self._depth(one.selection_set)
            elif isinstance(one, InlineFragmentNode):
                own = self._depth(one.selection_set)
            else:
                own = self._fragment(one.name.value) if isinstance(one, FragmentSpreadNode) else 0
            deepest = max(deepest, own)
        return deepest
