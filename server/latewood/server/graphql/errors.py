"""Errors as callers see them: a stable code, and never a word of what lies beneath."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

import structlog
from graphql import GraphQLError, GraphQLSyntaxError
from strawberry.exceptions import StrawberryGraphQLError
from strawberry.extensions import MaskErrors

from latewood.graph_schema.errors import LatewoodError
from latewood.memory.json import as_json
from latewood.server.graphql.limits import TOKENS_MAX, limit_error

__all__ = ["TypedErrors", "internal_error"]

_CAUSES_MAX: Final = 10
_log = structlog.get_logger(__name__)


def _cause(error: BaseException) -> BaseException:
    """Return what lies under the layers that GraphQL wraps around an error."""
    for _ in range(_CAUSES_MAX):
        inner = error.original_error if isinstance(error, GraphQLError) else None
        if inner is None:
            return error
        error = inner
    return error


def internal_error(fault: BaseException) -> tuple[str, dict[str, object]]:
    """Log *fault* under a new id; return the message and the extensions that callers may see of it."""
    fault_id = uuid4().hex
    _log.error("internal_error", id=fault_id, exc_info=fault)
    message = f"an unexpected fault on our side; its id in the log is {fault_id}"
    return message, {"code": "internal", "branch": "internal", "details": {"id": fault_id}}


class TypedErrors(MaskErrors):
    """Gives every error a code, a branch and details; what nobody foresaw is logged and masked."""

    def anonymise_error(self, error: GraphQLError) -> GraphQLError:
        """Return what a caller sees of *error*."""
        cause = _cause(error)
        message = error.message
        extensions: dict[str, object] = dict(error.extensions or {})
        if isinstance(cause, LatewoodError) and cause.code != "internal":
            message = cause.message
            extensions = {
                "code": cause.code, "branch": cause.branch, "error": type(cause).__name__,
                "details": as_json(cause.details),
            }  # fmt: skip
        elif isinstance(cause, GraphQLSyntaxError) and f"more than {TOKENS_MAX} tokens" in cause.message:
            msg = f"the document has more than {TOKENS_MAX} tokens; send less at once"
            return limit_error(msg, "TOKENS_MAX", TOKENS_MAX)
        elif not isinstance(cause, GraphQLError | StrawberryGraphQLError):
            message, extensions = internal_error(cause)
        if "code" not in extensions:
            extensions = {"code": "query.invalid", "branch": "refused", "details": {}}
        return GraphQLError(
            message, nodes=error.nodes, source=error.source, positions=error.positions, path=error.path,
            extensions=extensions,
        )  # fmt: skip
