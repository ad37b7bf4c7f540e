"""What a verb is given, held against its signature before anything is done.

Programs that no type checker has seen give a text where several things are asked for, the word of a status, or a date
as text. Taken as they are, the first makes an entity of each letter and the others fail far from their cause.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from functools import wraps
from itertools import chain, repeat
from numbers import Integral, Real
from types import NoneType, SimpleNamespace, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from latewood.graph_schema.errors import InvalidError

__all__ = ["checked"]

T = TypeVar("T")

Taken: TypeAlias = "tuple[bool, object]"
"""Whether a value is of the kind, and what to take for it: the word of an enumeration becomes its member."""
Kind: TypeAlias = "tuple[Callable[[Any], Taken], str] | None"
"""How a value is told to be of a kind, and the kind in words; None where everything is taken."""

_SHOWN_CHARS: Final = 60
_PLACED: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NUMBERS: Final[Mapping[type, tuple[type, str]]] = {int: (Integral, "a whole number"), float: (Real, "a number")}
_WORDS: Final[Mapping[type, str]] = {
    str: "text", bool: "true or false", datetime: "a datetime", NoneType: "None", dict: "a mapping",
}  # fmt: skip


def checked(owner: T) -> T:
    """Let a function, or each public method of a class, refuse what its signature does not take, by name.

    They raise InvalidError (``query.invalid``); the word of an enumeration is taken for its member. A first argument
    by place is a handle, and not looked at.
    """
    if inspect.isfunction(owner):
        return cast("T", _guarded(owner))
    for name, found in list(vars(owner).items()):
        method: Any = cast("Any", found).__func__ if isinstance(found, classmethod) else found
        if name.startswith("_") or not inspect.isfunction(method):
            continue
        guarded = _guarded(cast("Callable[..., Any]", method))
        setattr(owner, name, classmethod(guarded) if isinstance(found, classmethod) else guarded)
    return owner


def _guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    kinds: dict[str, Kind] = {}
    places: list[str] = []
    rest: list[str] = []

    def looked_at(args: tuple[Any, ...], given: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if not places:
            # At the first call: by then all that annotations name is there.
            kinds.update(_kinds(method))
            known = inspect.signature(method).parameters.values()
            rest.extend(one.name for one in known if one.kind is inspect.Parameter.VAR_POSITIONAL)
            places.extend(one.name for one in known if one.kind in _PLACED)
        # More than it has places for is left to Python to refuse, unless it takes any number.
        names = chain(places[1:], repeat(rest[0] if rest else ""))
        held = (args[0], *(_take(kinds, name, one) for name, one in zip(names, args[1:], strict=False)))
        return held, {name: _take(kinds, name, one) for name, one in given.items()}

    if inspect.iscoroutinefunction(method):

        @wraps(method)
        async def guarded(*args: Any, **given: Any) -> Any:
            args, given = looked_at(args, given)
            return await method(*args, **given)

        return guarded

    @wraps(method)
    def guarded_now(*args: Any, **given: Any) -> Any:
        args, given = looked_at(args, given)
        return method(*args, **given)

    return guarded_now


def _kinds(method: Callable[..., Any]) -> dict[str, Kind]:
    found: dict[str, Kind] = {}
    names = inspect.unwrap(method).__globals__
    for name, written in method.__annotations__.items():
        one = SimpleNamespace(__annotations__={name: written})
        # What is imported for checkers alone has no kind that could be told.
        with contextlib.suppress(NameError):
            found[name] = None if name == "return" else _kind(get_type_hints(one, names)[name])
    return found


def _take(kinds: Mapping[str, Kind], name: str, given: Any) -> Any:
    kind = kinds.get(name)
    if kind is None:
        return given
    fits, taken = kind[0](given)
    if not fits:
        shown = repr(given)
        shown = shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS]}..."
        raise InvalidError(f"{name} is {shown}; give {kind[1]}", code="query.invalid", argument=name)
    return taken


def _kind(hint: Any) -> Kind:
    """Return how a value is held against an annotation; what is not understood takes everything."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _kind(inner[0])
    if origin in (Union, UnionType):
        return _one_of([_kind(one) for one in inner])
    if origin is Literal:
        words = f"one of {', '.join(map(repr, inner))}"
        return (lambda given: (isinstance(given, str) and given in inner, given)), words
    found = cast("type[object]", hint if origin is None else origin)
    if not inspect.isclass(found):
        return None
    return _plain(found) if origin is None else _of(found, inner)


def _of(origin: type[object], inner: tuple[Any, ...]) -> Kind:
    if issubclass(origin, Mapping):
        return _instance(cast("type[object]", Mapping), "a mapping")
    if issubclass(origin, Iterable):
        return _several(_kind(inner[0]), ordered=issubclass(origin, list))
    return None if getattr(origin, "_is_protocol", False) else _instance(origin, origin.__name__)


def _plain(hint: type[object]) -> Kind:
    if hint is object:
        return None
    if hint in _NUMBERS:
        number, words = _NUMBERS[hint]
        return (lambda given: (type(given) is not bool and isinstance(given, number), given)), words
    if issubclass(hint, Enum):
        return _word_of(hint)
    if getattr(hint, "_is_protocol", False):
        known = {*vars(hint), *cast("dict[str, object]", vars(hint).get("__annotations__", {}))}
        names = sorted(one for one in known if not one.startswith("_"))
        return (lambda given: (all(hasattr(given, one) for one in names), given)), f"what has {' and '.join(names)}"
    return _instance(hint, _WORDS.get(hint, hint.__name__))


def _instance(kind: type[object], words: str) -> Kind:
    return (lambda given: (isinstance(given, kind), given)), words


def _word_of(kind: type[Enum]) -> Kind:
    members = {one.value: one for one in kind}

    def take(given: Any) -> Taken:
        if isinstance(given, kind):
            return True, given
        found = members.get(given) if isinstance(given, str) else None
        return found is not None, found

    return take, f"one of {', '.join(map(str, members))}"


def _several(kind: Kind, *, ordered: bool) -> Kind:
    wanted = cast("type[object]", Sequence if ordered else Iterable)

    def take(given: Any) -> Taken:
        if isinstance(given, str | bytes | Mapping) or not isinstance(given, wanted):
            return False, cast("object", given)
        if kind is None:
            return True, given
        each = [kind[0](one) for one in cast("Iterable[object]", given)]
        return all(fits for fits, _ in each), tuple(taken for _, taken in each)

    return take, "a list" if kind is None else f"a list, each {kind[1]}"


def _one_of(kinds: Sequence[Kind]) -> Kind:
    known = [one for one in kinds if one is not None]
    if len(known) < len(kinds):
        return None

    def take(given: Any) -> Taken:
        for one in known:
            fits, taken = one[0](given)
            if fits:
                return True, taken
        return False, given

    return take, " or ".join(dict.fromkeys(words for _, words in known))
