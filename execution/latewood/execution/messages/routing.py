"""Routing as data: rules on what a message says, with a version that each message keeps that came by them."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from latewood.graph_schema.errors import InvalidError, LimitError
from latewood.graph_schema.values import Json

__all__ = ["OPERATORS", "RULES_MAX", "Condition", "Routes", "Rule", "routes_from", "routes_json"]

RULES_MAX: Final = 100
"""Most rules of one channel, and most conditions of one rule."""
_PATH: Final = re.compile(r"\$((\.[A-Za-z_][A-Za-z0-9_-]*)|(\[[0-9]{1,6}\]))*")
_PART: Final = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\[([0-9]{1,6})\]")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ORDERED: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
OPERATORS: Final = (*_ORDERED, "==", "!=", "in", "exists")
"""What a condition may ask."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What a message must say: what is at *path* of its data, compared with *value*.

    What is not there, or of another type, fits no condition but ``exists`` with the value false, and ``!=``.
    """

    path: str
    op: str
    value: Json = True

    def holds(self, data: Json) -> bool:
        """Whether *data* fits."""
        there, found = _at(data, self.path)
        if self.op == "exists":
            return there is bool(self.value)
        if not there:
            return self.op == "!="
        if self.op in ("==", "!="):
            same = found == self.value and isinstance(found, bool) == isinstance(self.value, bool)
            return same is (self.op == "==")
        if self.op == "in":
            return isinstance(self.value, list) and found in self.value
        numbers = _number(found) and _number(self.value)
        texts = isinstance(found, str) and isinstance(self.value, str)
        return (numbers or texts) and _ORDERED[self.op](cast("Any", found), cast("Any", self.value))


def _number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _at(data: Json, path: str) -> tuple[bool, Json]:
    found = data
    for name, place in _PART.findall(path[1:]):
        if name and isinstance(found, dict) and name in found:
            found = found[name]
        elif place and isinstance(found, list) and int(place) < len(found):
            found = found[int(place)]
        else:
            return False, None
    return True, found


@dataclass(frozen=True, slots=True)
class Rule:
    """A message that fits every one of *when* goes to the channel *to*."""

    name: str
    when: tuple[Condition, ...]
    to: str


@dataclass(frozen=True, slots=True)
class Routes:
    """The rules of a channel, of which the first that fits counts; a message that fits none stays where it was sent.

    Attributes:
        version: counts up from 1 with each change.
    """

    version: int
    rules: tuple[Rule, ...]

    def goes(self, data: Json) -> Rule | None:
        """Return the rule by which *data* goes elsewhere."""
        return next((rule for rule in self.rules if all(one.holds(data) for one in rule.when)), None)

    def checked(self, channel: str) -> Routes:
        """Return the rules when they are well formed. Raises InvalidError (``query.invalid``), LimitError."""
        if len(self.rules) > RULES_MAX or any(len(rule.when) > RULES_MAX for rule in self.rules):
            msg = f"a channel has at most {RULES_MAX} rules, of at most {RULES_MAX} conditions; split the channel"
            raise LimitError(msg, limit="RULES_MAX", maximum=RULES_MAX)
        for rule in self.rules:
            if _NAME.fullmatch(rule.name) is None or not rule.when or rule.to == channel:
                msg = f"the rule {rule.name[:80]!r} needs a name, a condition, and another channel than {channel!r}"
                raise InvalidError(msg, code="query.invalid")
            for one in rule.when:
                _check(one, rule.name)
        return self


def _check(one: Condition, rule: str) -> None:
    wrong = _PATH.fullmatch(one.path) is None or one.op not in OPERATORS
    wrong = wrong or (one.op == "in" and not isinstance(one.value, list))
    wrong = wrong or (one.op in _ORDERED and not (_number(one.value) or isinstance(one.value, str)))
    if wrong:
        msg = (
            f"the rule {rule!r} asks {one.path[:80]!r} {one.op[:20]!r}; a path is as in $.order.lines[0], one asks "
            f"{' '.join(OPERATORS)}, and compares numbers, texts, or with 'in' a list"
        )
        raise InvalidError(msg, code="query.invalid")


def routes_json(routes: Routes) -> dict[str, Json]:
    """Write rules as they are kept with their channel."""
    listed: list[Json] = []
    for rule in routes.rules:
        when: list[Json] = [{"path": one.path, "op": one.op, "value": one.value} for one in rule.when]
        listed.append({"name": rule.name, "when": when, "to": rule.to})
    return {"version": routes.version, "rules": listed}


def routes_from(kept: Json) -> Routes | None:
    """Read rules as they are kept, or as somebody wrote them. Raises InvalidError (``query.invalid``)."""
    listed = kept.get("rules") if isinstance(kept, dict) else None
    if not isinstance(kept, dict) or not isinstance(listed, list):
        return None
    version = kept.get("version", 1)
    return Routes(version if isinstance(version, int) else 1, tuple(map(_rule, listed)))


def _rule(kept: Json) -> Rule:
    if isinstance(kept, dict):
        name, when, to = kept.get("name"), kept.get("when"), kept.get("to")
        if isinstance(name, str) and isinstance(when, list) and isinstance(to, str):
            return Rule(name, tuple(_condition(one, name) for one in when), to)
    msg = "a rule is {'name': ..., 'when': [{'path': '$.confidence', 'op': '<', 'value': 0.7}], 'to': 'inbox'}"
    raise InvalidError(msg, code="query.invalid")


def _condition(kept: Json, rule: str) -> Condition:
    if isinstance(kept, dict):
        path, op = kept.get("path"), kept.get("op")
        if isinstance(path, str) and isinstance(op, str):
            return Condition(path, op, kept.get("value", True))
    msg = f"a condition of the rule {rule[:80]!r} has a path, an op and a value"
    raise InvalidError(msg, code="query.invalid")
