"""What fits a channel's schema, and what a new schema would break for those who read the old one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from latewood.execution.schemas import joined, misfit, references
from latewood.graph_schema.errors import InvalidError
from latewood.graph_schema.values import Json

__all__ = ["breaks", "check_data"]

_BREAKS_MAX: Final = 20
_NOTES: Final = frozenset({
    "$schema", "$id", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly",
})  # fmt: skip
_TYPES: Final = ("array", "boolean", "integer", "null", "number", "object", "string")
_LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_LOOKED_INTO: Final = frozenset({
    "type", "enum", "const", "required", "properties", "additionalProperties", "items", *_LOWER, *_UPPER, *_NOTES,
})  # fmt: skip


def check_data(schema: Mapping[str, Json], data: Json, channel: str) -> None:
    """Refuse data that does not fit *schema*, with the path of what is wrong.

    Raises:
        InvalidError: code ``message.refused``; the details have the path.
    """
    found = misfit(schema, data, f"the schema of channel {channel!r}")
    if found is None:
        return
    msg = f"channel {channel!r} does not take this: {found}; nothing was enqueued"
    raise InvalidError(msg, code="message.refused", path=found.path, channel=channel)


# What a consumer of the old schema relies on is that every message fits it. So the new one may only be narrower.


def breaks(old: Json, new: Json) -> list[str]:
    """Say where data that fits *new* might not fit *old*; an empty list when whoever reads *old* can go on.

    Whatever cannot be told from the two is a break: rules on several values, on shapes, or by reference that changed.
    """
    return list(dict.fromkeys(_breaks(old, new, "$")))[:_BREAKS_MAX]


def _breaks(old: Json, new: Json, path: str) -> Iterable[str]:
    if old == new or old is True or old == {} or new is False:
        return
    if not isinstance(old, dict) or not isinstance(new, dict):
        yield f"{path} was described, and is not any more" if new is True else f"{path} is not allowed by the old one"
        return
    yield from _types(old, new, path)
    yield from _values(old, new, path)
    yield from _bounds(old, new, path)
    yield from _members(old, new, path)
    if "items" in old:
        yield from _breaks(old["items"], new.get("items", True), f"{path}[]")
    for name in sorted(old.keys() - _LOOKED_INTO):
        if name == "$defs" and not any(references(old, path)):
            continue
        if old[name] != new.get(name):
            yield f"{path}: {name} differs, and whether it is narrower cannot be told"


def _types_of(schema: Mapping[str, Json]) -> set[str]:
    said = schema.get("type")
    if said is None:
        return set(_TYPES)
    return {said} if isinstance(said, str) else {str(one) for one in said} if isinstance(said, list) else set()


def _types(old: Mapping[str, Json], new: Mapping[str, Json], path: str) -> Iterable[str]:
    before, after = _types_of(old), _types_of(new)
    allowed = before | {"integer"} if "number" in before else before
    if "type" in old and not after <= allowed:
        yield f"{path} may be {', '.join(sorted(after - allowed))} now"


def _values(old: Mapping[str, Json], new: Mapping[str, Json], path: str) -> Iterable[str]:
    before, after = _enumerated(old), _enumerated(new)
    if before is not None and (after is None or any(one not in before for one in after)):
        yield f"{path} may have other values now"


def _enumerated(schema: Mapping[str, Json]) -> list[Json] | None:
    if "const" in schema:
        return [schema["const"]]
    said = schema.get("enum")
    return said if isinstance(said, list) else None


def _bounds(old: Mapping[str, Json], new: Mapping[str, Json], path: str) -> Iterable[str]:
    for name in (*_LOWER, *_UPPER):
        before, after = old.get(name), new.get(name)
        if not isinstance(before, int | float):
            continue
        stricter = isinstance(after, int | float) and (after >= before if name in _LOWER else after <= before)
        if not stricter:
            yield f"{path}: {name} is looser now"


def _members(old: Mapping[str, Json], new: Mapping[str, Json], path: str) -> Iterable[str]:
    required, still = _names(old.get("required")), _names(new.get("required"))
    for name in sorted(required - still):
        yield f"{joined(path, name)} is not required any more"
    before, after = _described(old), _described(new)
    others = new.get("additionalProperties", True)
    for name, rule in before.items():
        yield from _breaks(rule, after.get(name, others), joined(path, name))
    rest = old.get("additionalProperties", True)
    for name, rule in after.items():
        if name not in before:
            yield from _breaks(rest, rule, joined(path, name))
    yield from _breaks(rest, others, f"{path}.*")


def _names(said: Json) -> set[str]:
    return {str(one) for one in said} if isinstance(said, list) else set()


def _described(schema: Mapping[str, Json]) -> Mapping[str, Json]:
    said = schema.get("properties")
    return said if isinstance(said, dict) else {}
