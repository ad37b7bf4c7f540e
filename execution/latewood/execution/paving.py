"""Paved paths: templates of workflows that bring owner, deadline, policy and schemas, and rules that say what left one.

A path is data (``paths/*.toml`` with its template beside it). A workflow says on which it is by ``path=``; one that
says nothing is off every path, which is allowed and shown.
"""

from __future__ import annotations

import ast
import keyword
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Final, cast

from latewood.execution.faults import DEFAULT
from latewood.execution.workflow import StepOf, Workflow
from latewood.graph_schema.errors import InvalidError, NotFoundError
from latewood.graph_schema.model import Trust

__all__ = ["RULES", "Finding", "Linted", "PavedPath", "lint", "paths", "run_type"]

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+){0,15}")
_NAME_CHARS_MAX: Final = 100
_OWNER: Final = re.compile(r"[A-Za-z][\w-]*:[^\s\"\\]{1,150}")
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class PavedPath:
    """A way to build a kind of workflow.

    Attributes:
        rules: what a workflow on it has to keep, names of `RULES`.
        deadline_days_max: longest time that a run may take.
        template: the Python text of a workflow on it.
    """

    name: str
    title: str
    description: str
    rules: tuple[str, ...]
    deadline_days_max: float
    template: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that a workflow does not keep, and what to do about it."""

    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class Linted:
    """A workflow and what it leaves of its path; *path* is None when it is off every path."""

    workflow: str
    version: str
    path: str | None
    findings: tuple[Finding, ...]


_Steps = Iterable[StepOf[Any, Any]]


def _owner(flow: Workflow[..., Any], _: PavedPath, __: _Steps) -> str | None:
    return None if flow.owner else "nobody answers for it: name one, owner='human:ada'"


def _human_owner(flow: Workflow[..., Any], _: PavedPath, __: _Steps) -> str | None:
    if flow.owner is None or flow.owner.partition(":")[0].casefold() == Trust.HUMAN.value:
        return None
    return f"{flow.owner!r} is no person: name one, owner='human:ada'"


def _deadline(flow: Workflow[..., Any], path: PavedPath, _: _Steps) -> str | None:
    days = flow.deadline_s / _DAY_S
    if days <= path.deadline_days_max:
        return None
    return f"a run may take {days:g} days, and on this path {path.deadline_days_max:g} at most: set deadline_s"


def _input_schema(flow: Workflow[..., Any], _: PavedPath, __: _Steps) -> str | None:
    return None if flow.input_schema else "its input is not checked: give it an input_schema"


def _output_schema(flow: Workflow[..., Any], _: PavedPath, __: _Steps) -> str | None:
    return None if flow.output_schema else "what it returns is not checked: give it an output_schema"


def _policy(flow: Workflow[..., Any], _: PavedPath, __: _Steps) -> str | None:
    if flow.policy.version != DEFAULT.version:
        return None
    return "it has the policy of whoever says nothing: give it its own, DEFAULT.changed('name-1', {...})"


def _step_timeout(_: Workflow[..., Any], __: PavedPath, steps: _Steps) -> str | None:
    # A model's endpoint brings its own.
    blind = sorted(one.name for one in steps if one.timeout_s is None and one.sort == "step")
    return f"a try may take for ever in {', '.join(blind)}: set timeout_s" if blind else None


def _probe(_: Workflow[..., Any], __: PavedPath, steps: _Steps) -> str | None:
    blind = sorted(one.name for one in steps if one.outside and one.probe is None)
    return f"after a crash nobody can tell what came of {', '.join(blind)}: give it a probe" if blind else None


RULES: Final[Mapping[str, Callable[[Workflow[..., Any], PavedPath, _Steps], str | None]]] = MappingProxyType({
    "owner": _owner, "human-owner": _human_owner, "deadline": _deadline, "input-schema": _input_schema,
    "output-schema": _output_schema, "policy": _policy, "step-timeout": _step_timeout, "probe": _probe,
})  # fmt: skip
"""Each rule says what is wrong, or None."""


@cache
def paths() -> Mapping[str, PavedPath]:
    """Return the paths that there are, by name."""
    found: dict[str, PavedPath] = {}
    folder = resources.files("latewood.execution").joinpath("paths")
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        if file.name.endswith(".toml"):
            said = tomllib.loads(file.read_text(encoding="utf-8"))
            template = folder.joinpath(cast("str", said["template"])).read_text(encoding="utf-8")
            found[said["name"]] = PavedPath(
                said["name"], said["title"], said["description"], tuple(said["rules"]), said["deadline_days_max"],
                template,
            )  # fmt: skip
    return MappingProxyType(found)


def _path(name: str) -> PavedPath:
    found = paths().get(name)
    if found is None:
        msg = f"there is no paved path {name[:80]!r}; there are {', '.join(paths())}"
        raise NotFoundError(msg, code="path.unknown", path=name[:80])
    return found


def lint(flows: Iterable[Workflow[..., Any]], steps: Iterable[StepOf[Any, Any]]) -> tuple[Linted, ...]:
    """Hold workflows, with the *steps* of their module, to the paths that they say they are on."""
    listed = tuple(steps)
    return tuple(_linted(flow, listed) for flow in flows)


def _linted(flow: Workflow[..., Any], steps: tuple[StepOf[Any, Any], ...]) -> Linted:
    findings: list[Finding] = []
    if flow.path is not None:
        path = paths().get(flow.path)
        if path is None:
            known = ", ".join(paths())
            findings.append(Finding("path", f"there is no paved path {flow.path[:80]!r}; there are {known}"))
        else:
            said = ((rule, RULES[rule](flow, path, steps)) for rule in path.rules)
            findings += [Finding(rule, message) for rule, message in said if message is not None]
    return Linted(flow.name, flow.version, flow.path, tuple(findings))


def run_type(name: str, *, path: str, owner: str) -> tuple[str, str]:
    """Return the file name and the text of a new workflow on *path*.

    Raises:
        InvalidError: *name* is not of small letters, digits and hyphens, or *owner* names no actor.
        NotFoundError: code ``path.unknown``.
    """
    paved = _path(path)
    function = name.replace("-", "_")
    if len(name) > _NAME_CHARS_MAX or _NAME.fullmatch(name) is None or keyword.iskeyword(function):
        msg = f"{name[:80]!r} cannot name a run type: small letters and digits, joined by hyphens, as in lane-plan"
        raise InvalidError(msg, code="query.invalid", name=name[:80])
    if _OWNER.fullmatch(owner) is None:
        raise InvalidError(f"{owner[:80]!r} names no actor; write it as in human:ada", code="query.invalid")
    text = paved.template.format(
        title=paved.title, name=name, module=function, function=function, owner=owner, path=path
    )  # fmt: skip
    ast.parse(text)
    return f"{function}.py", text
