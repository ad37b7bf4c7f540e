"""Trend and shift, competing in one test: does a line or a step explain a series better than its own noise does?

Each series is read as level + perhaps a season + autocorrelated noise. A line over the whole of it and a step at each
place are tried as the change, under generalised least squares. How large a gain comes by chance is not taken from a
table: every series is resampled without its change (its own season, autocorrelation and innovations), and the whole
procedure is run on what comes out. A step is therefore not called a trend, nor slow noise a drift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from latewood.reasoning.patterns.bounding import kept_within
from latewood.reasoning.patterns.memo import Memo, digest_of
from latewood.reasoning.patterns.rates import Floats, Ints, tail_p

__all__ = ["LENGTH_MAX", "LENGTH_MIN", "ChangeTest", "Fitted", "change_tests"]

LENGTH_MIN: Final = 12
"""Fewest points of a series that is tested."""
LENGTH_MAX: Final = 1_000
"""Most points that are looked at: the latest."""
_EDGE: Final = 5
"""Points at either end where no step is looked for."""
_STEPS_MAX: Final = 96
_NULLS: Final = 12_000
"""Resamples over all series of about one length; few of each, as they are judged together."""
_NULLS_MAX: Final = 48_000
"""Most resamples over all series of about one length."""
_CELLS_MAX: Final = 1_000_000
"""Most numbers of one batch of resamples, so that memory does not grow with the space."""
_WAVES_BYTES_MAX: Final = 32_000_000
_DIRECTIONS_BYTES_MAX: Final = 64_000_000
"""Most bytes of the directions that are kept: those of one season of 1,000 points have 800 kB."""
_EACH_MIN: Final = 12
_EACH_MAX: Final = 600
_CLIP: Final = 4.0
_CLIP_NOISE: Final = 2.5
_PHI_MAX: Final = 0.85
_PHI_STEP: Final = 0.05
_CYCLES_MIN: Final = 2.5
_SEASON_P: Final = 0.01
_WARM: Final = 30
_SEED: Final = 7
_NEAR: Final = 3
"""Places on either side of the one that is told within which a step was told rightly."""
_CLASSES: Final = 5
"""Classes of autocorrelation that the null is kept apart for."""
_BIAS: Final = (4.5, 8.0)
"""What fitting takes from lag 1, in 1/n: found by fitting noise of known autocorrelation, of 24 to 150 points."""


@dataclass(frozen=True, slots=True)
class ChangeTest:
    """What the competition came to for one series.

    Attributes:
        kind: trend or shift, whichever is more probably right: a line, or a step close to the place that is told.
        p: of the better of the two, by resampling; not corrected for other series.
        at: index of the first point after the step; of a trend 0.
        effect: of a shift the step, of a trend the rise from first to last point; in the series' own unit.
        low, high: its 95 % interval.
        scale: the noise of one point around the fit, in the series' own unit.
        phi: lag-1 autocorrelation of the noise.
        period: points of a season, or None.
    """

    kind: str
    p: float
    at: int
    effect: float
    low: float
    high: float
    scale: float
    phi: float
    period: float | None


@dataclass(frozen=True, slots=True)
class Fitted:
    """A series around its best explanation: what is left over, and the noise of one point."""

    residuals: Floats
    scale: float


@dataclass(frozen=True, slots=True)
class _Cell:
    """What one length, season and autocorrelation have in common: whitened, orthonormal directions."""

    base: Floats
    candidates: Floats
    norms: Floats


@dataclass(frozen=True, slots=True)
class _Stats:
    """The competition over many series of one length."""

    line: Floats
    step: Floats
    step_at: Ints
    season: Ints
    phi: Floats
    residuals: Floats
    seasonal: Floats
    line_effect: Floats
    line_error: Floats
    step_effect: Floats
    step_error: Floats
    lean: Floats

    def row(self, place: int) -> _Stats:
        """Return one row by itself, holding on to no other, and without its season: only resampling asks for that."""
        parts = {name: getattr(self, name)[place : place + 1].copy() for name in self.__slots__ if name != "seasonal"}
        return _Stats(**parts, seasonal=np.broadcast_to(np.zeros(1), self.residuals[:1].shape))

    @staticmethod
    def joined(rows: Sequence[_Stats]) -> _Stats:
        """Put rows together again."""
        return _Stats(**{name: np.concatenate([getattr(one, name) for one in rows]) for name in _Stats.__slots__})


@lru_cache(maxsize=256)
def _places(length: int) -> tuple[int, ...]:
    """Return where a step is looked for."""
    edge = min(_EDGE, length // 4)
    inside = range(edge, length - edge + 1)
    if len(inside) <= _STEPS_MAX:
        return tuple(inside)
    return tuple(sorted({int(at) for at in np.linspace(inside[0], inside[-1], _STEPS_MAX)}))


@lru_cache(maxsize=256)
def _frequencies(length: int) -> Floats:
    """Return the seasons looked for, in cycles over the series: at least `_CYCLES_MIN`, at least 3 points each."""
    return np.arange(_CYCLES_MIN, length / 3 + 0.01, 0.5) if length >= 4 * _CYCLES_MIN else np.zeros(0)


def _bytes_of(made: Floats) -> int:
    return made.nbytes


def _bytes_in(made: _Cell) -> int:
    return made.base.nbytes + made.candidates.nbytes + made.norms.nbytes


@kept_within(_WAVES_BYTES_MAX, _bytes_of)
def _waves(length: int, cycles: float) -> Floats:
    angle = 2 * np.pi * cycles * np.arange(length) / length
    return np.column_stack([np.cos(angle), np.sin(angle)])


@kept_within(_DIRECTIONS_BYTES_MAX, _bytes_in)
def _cell(length: int, season: int, phi_steps: int) -> _Cell:
    """Make the directions for one season (-1: none) and autocorrelation."""
    time = np.arange(length, dtype=np.float64)
    columns = [np.ones((length, 1))]
    if season >= 0:
        columns.append(_waves(length, float(_frequencies(length)[season])))
    line = (time - time.mean()) / (length - 1)
    steps = (time[:, None] >= np.asarray(_places(length))[None, :]).astype(np.float64)
    phi = phi_steps * _PHI_STEP
    base, _ = np.linalg.qr(_whiten(np.hstack(columns).T, phi).T)
    candidates = _whiten(np.column_stack([line, steps]).T, phi).T
    candidates = candidates - base @ (base.T @ candidates)
    norms = np.sqrt(np.maximum(np.sum(candidates**2, axis=0), 1e-12))
    return _Cell(base, candidates / norms, norms)


def _whiten(rows: Floats, phi: float) -> Floats:
    """Take the autocorrelation out of each row."""
    if phi == 0.0:
        return rows
    out = rows.copy()
    out[:, 1:] -= phi * rows[:, :-1]
    out[:, 0] *= np.sqrt(1 - phi * phi)
    return out


def _spread(rows: Floats) -> Floats:
    """Return each row's robust spread; where most of a row is equal, its standard deviation."""
    middle = np.median(rows, axis=1, keepdims=True)
    robust = 1.4826 * np.median(np.abs(rows - middle), axis=1)
    plain = np.std(rows, axis=1)
    return np.where(robust > 1e-9 * np.maximum(plain, 1e-300), robust, np.maximum(plain, 1e-300))


def _season_of(rows: Floats) -> Ints:
    """Return the season of each row by its periodogram, -1 where no peak stands out."""
    length = rows.shape[1]
    cycles = _frequencies(length)
    none = np.full(len(rows), -1, dtype=np.int64)
    if not len(cycles):
        return none
    waves = np.hstack([_waves(length, float(one)) for one in cycles])
    found = (rows @ waves) ** 2
    power = (found[:, 0::2] + found[:, 1::2]) * 2 / length / np.maximum(np.sum(rows**2, axis=1), 1e-300)[:, None]
    best = np.argmax(power, axis=1)
    share = np.clip(power[np.arange(len(rows)), best], 0.0, 1.0)
    half = length / 2
    chance = half * (1.0 - share) ** (half - 1)
    return np.where(chance < _SEASON_P, best, none)


def _by_cell(season: Ints, phi_steps: Ints) -> list[tuple[int, int, Ints]]:
    """Group rows by what they have in common."""
    code = (season + 1) * 1_000 + phi_steps
    order = np.argsort(code, kind="stable")
    cuts = np.flatnonzero(np.diff(code[order])) + 1
    return [(int(season[part[0]]), int(phi_steps[part[0]]), part) for part in np.split(order, cuts) if len(part)]


def _plain(rows: Floats, season: Ints) -> tuple[Floats, Floats]:
    """Return what ordinary least squares with the best candidate leaves over, and its seasonal part."""
    left = np.empty_like(rows)
    wave = np.zeros_like(rows)
    for which, _, part in _by_cell(season, np.zeros(len(rows), dtype=np.int64)):
        cell = _cell(rows.shape[1], which, 0)
        y = rows[part]
        level = (y @ cell.base) @ cell.base.T
        scores = (y - level) @ cell.candidates
        best = np.argmax(np.abs(scores), axis=1)
        gain = scores[np.arange(len(part)), best][:, None] * cell.candidates[:, best].T
        left[part] = y - level - gain
        if which >= 0:
            cycles = _waves(rows.shape[1], float(_frequencies(rows.shape[1])[which]))
            clean = y - gain
            clean = clean - clean.mean(axis=1, keepdims=True)
            wave[part] = clean @ np.linalg.pinv(cycles).T @ cycles.T
    return left, wave


def _fresh(left: Floats) -> Floats:
    """Return the sum of squares of each row that its own lag 1 does not explain."""
    power = np.maximum(np.sum(left**2, axis=1), 1e-300)
    lagged = np.sum(left[:, 1:] * left[:, :-1], axis=1)
    return np.maximum(power - lagged**2 / power, 1e-12 * power)


def _phi_of(left: Floats) -> Floats:
    """Return the lag-1 autocorrelation of each row, with the small-sample bias put back."""
    length = left.shape[1]
    raw = np.sum(left[:, 1:] * left[:, :-1], axis=1) / np.maximum(np.sum(left**2, axis=1), 1e-300)
    return np.clip((raw + _BIAS[0] / length) / (1.0 - min(_BIAS[1] / length, 0.5)), 0.0, _PHI_MAX)


def _stats(rows: Floats) -> _Stats:
    """Run the competition over *rows*, all of one length, each already centred and of robust spread 1."""
    count, length = rows.shape
    clipped = np.clip(rows, -_CLIP, _CLIP)
    nobody = np.zeros(count, dtype=np.int64) - 1
    first, _ = _plain(clipped, nobody)
    season = _season_of(first)
    left, _ = _plain(clipped, season)
    # Autocorrelation alone makes peaks too: a season must explain what autocorrelation does not.
    gain = length / 2 * np.log(_fresh(first) / _fresh(left))
    season = np.where(gain > np.log(length / 2 / _SEASON_P), season, -1).astype(np.int64)
    left = np.where((season >= 0)[:, None], left, first)
    # What stands out from its neighbours counts no more than the rest: heavy tails would drown a change.
    bound = _CLIP_NOISE * _spread(left)[:, None]
    mended = clipped - left + np.clip(left, -bound, bound)
    left, wave = _plain(mended, season)
    phi = _phi_of(left)
    steps = np.rint(phi / _PHI_STEP).astype(np.int64)
    parts: dict[str, Floats] = {name: np.zeros(count) for name in ("line", "step", "le", "lx", "se", "sx", "lean")}
    at = np.zeros(count, dtype=np.int64)
    places = np.asarray(_places(length))
    for which, whitened, part in _by_cell(season, steps):
        cell = _cell(length, which, whitened)
        y = _whiten(mended[part], whitened * _PHI_STEP)
        y = y - (y @ cell.base) @ cell.base.T
        scores = y @ cell.candidates
        gain = scores**2
        rest = np.maximum(np.sum(y**2, axis=1)[:, None] - gain, 1e-9) / (length - cell.base.shape[1] - 1)
        ratio = gain / rest
        best = np.argmax(ratio[:, 1:], axis=1) + 1
        row = np.arange(len(part))
        parts["line"][part], parts["step"][part] = ratio[:, 0], ratio[row, best]
        best, parts["lean"][part] = _placed(length / 2 * np.log1p(ratio / (length - cell.base.shape[1] - 1)))
        at[part] = places[best - 1]
        parts["le"][part], parts["lx"][part] = scores[:, 0] / cell.norms[0], np.sqrt(rest[:, 0]) / cell.norms[0]
        parts["se"][part] = scores[row, best] / cell.norms[best]
        parts["sx"][part] = np.sqrt(rest[row, best]) / cell.norms[best]
    return _Stats(
        parts["line"], parts["step"], at, season, phi, rows - (mended - left), wave, parts["le"], parts["lx"],
        parts["se"], parts["sx"], parts["lean"],
    )  # fmt: skip


def _placed(weight: Floats) -> tuple[Ints, Floats]:
    """Return where each row's step most probably is, give or take `_NEAR`, and the log odds of its line against that.

    Args:
        weight: log likelihood of the line, then of a step at each place, a row for each series.
    """
    peak = weight[:, 1:].max(axis=1)
    until = np.zeros_like(weight)
    np.cumsum(np.exp(weight[:, 1:] - peak[:, None]), axis=1, out=until[:, 1:])
    places = np.arange(until.shape[1] - 1, dtype=np.int64)
    first, last = np.maximum(places - _NEAR, 0), np.minimum(places + _NEAR + 1, len(places))
    near = until[:, last] - until[:, first]
    best = np.argmax(near, axis=1)
    # Beforehand every place is as likely as another, and a step as likely as a line.
    odds = weight[:, 0] - peak - np.log(np.maximum(near[np.arange(len(near)), best], 1e-300) / len(places))
    return best + 1, odds


def _resampled(seen: _Stats, picks: Ints) -> Floats:
    """Return series without their change: each row's own season, autocorrelation and innovations, *picks* of them."""
    count, length = seen.residuals.shape
    each = picks.shape[1]
    phi = seen.phi[:, None]
    left = np.clip(seen.residuals, -_CLIP, _CLIP)
    fresh = left[:, 1:] - phi * left[:, :-1]
    fresh = fresh - fresh.mean(axis=1, keepdims=True)
    shocks = np.take_along_axis(np.broadcast_to(fresh[:, None, :], (count, each, length - 1)), picks, axis=2)
    out = np.empty_like(shocks)
    state = np.zeros((count, each))
    for step in range(_WARM + length):
        state = phi * state + shocks[:, :, step]
        out[:, :, step] = state
    noise = out[:, :, _WARM:]
    return (noise + seen.seasonal[:, None, :]).reshape(count * each, length)


def _standard(rows: Floats) -> tuple[Floats, Floats]:
    spread = _spread(rows)
    return (rows - np.median(rows, axis=1, keepdims=True)) / spread[:, None], spread


def change_tests(
    series: Sequence[Floats], seed: int = _SEED, memo: Memo | None = None
) -> list[tuple[ChangeTest, Fitted]]:
    """Test each of *series* (finite, not constant, at least `LENGTH_MIN` points) for a trend or a shift.

    Series of about one length share their null. The same series give the same answer in any order, and with any *memo*.
    """
    found: dict[int, tuple[ChangeTest, Fitted]] = {}
    bands: dict[int, list[int]] = {}
    for place, values in enumerate(series):
        bands.setdefault(_band_of(min(len(values), LENGTH_MAX)), []).append(place)
    for members in bands.values():
        _band(series, members, seed, found, Memo(0) if memo is None else memo)
    return [found[place] for place in range(len(series))]


def _band_of(length: int) -> int:
    return int(np.log(length) * 4)


@lru_cache(maxsize=1_024)
def _shortest(length: int) -> int:
    """Return the shortest length of the band that *length* is in."""
    band = _band_of(length)
    first = int(np.exp(band / 4))
    while _band_of(first) < band:
        first += 1
    return first


def _root(values: Floats) -> Floats:
    """Return the part of a series that its resamples are drawn from: as many points as are in every one of its band.

    What comes later changes nothing about it until the series is in the next band, a quarter longer.
    """
    most = _shortest(min(len(values), LENGTH_MAX))
    root = values[: _shortest(len(values))][-most:]
    return values[-most:] if bool(np.all(root == root[0])) else root


def _band(
    series: Sequence[Floats], members: Sequence[int], seed: int, found: dict[int, tuple[ChangeTest, Fitted]], memo: Memo
) -> None:
    """Test the series of about one length together."""
    lengths: dict[int, list[int]] = {}
    for place in members:
        lengths.setdefault(min(len(series[place]), LENGTH_MAX), []).append(place)
    null = _Null.of(_by_chance([_root(series[place]) for place in members], seed, memo))
    for length, places in sorted(lengths.items()):
        # In one order, whichever they came in: sums of floats depend on it.
        places.sort(key=lambda place: series[place].tobytes())
        step = max(1, _CELLS_MAX // length)
        for start in range(0, len(places), step):
            part = places[start : start + step]
            rows, spread = _standard(np.vstack([series[place][-length:] for place in part]))
            stats = _seen(rows, memo)
            p = null.p(stats)
            for row, place in enumerate(part):
                found[place] = _told(stats, row, float(spread[row]), float(p[row]))


def _seen(rows: Floats, memo: Memo) -> _Stats:
    """Run the competition over those of *rows* that the memo has not seen."""
    digests = [digest_of(row) for row in rows]
    kept = [memo.get("competition", digest, _Stats) for digest in digests]
    new = [row for row, one in enumerate(kept) if one is None]
    if len(new) == len(kept) and not memo.keeps:
        return _stats(rows)
    stats = _stats(rows[new]) if new else None
    for place, row in enumerate(new):
        if stats is not None:
            kept[row] = stats.row(place)
            memo.put("competition", digests[row], kept[row], 8 * rows.shape[1] + 2_000)
    return _Stats.joined([one for one in kept if one is not None])


def _by_chance(roots: Sequence[Floats], seed: int, memo: Memo) -> list[tuple[Floats, Floats, Floats]]:
    """Return what the competition comes to on resamples of each root: autocorrelation, gain of a line, of a step.

    What is drawn of a root depends on nothing but the root, so that it need be drawn once only.
    """
    each = _EACH_MIN
    while each < min(-(-_NULLS // len(roots)), _EACH_MAX):
        each = min(-(-each * 5 // 4), _EACH_MAX)
    # Of very many series some speak for all, the same ones each time: the null is of the family, not of each.
    told = sorted(((digest_of(root), root) for root in roots), key=lambda one: one[0])[: max(1, _NULLS_MAX // each)]
    name = f"chance {each} {seed}"
    kept = {digest: memo.get(name, digest, tuple[Floats, Floats, Floats]) for digest, _ in told}
    new = [(digest, root) for digest, root in dict(told).items() if kept[digest] is None]
    step = max(1, _CELLS_MAX // (len(roots[0]) * each))
    for start in range(0, len(new), step):
        part = new[start : start + step]
        stats = _seen(_standard(np.vstack([root for _, root in part]))[0], Memo(0))
        picks = np.stack([_picks(digest, seed, each, stats.residuals.shape[1]) for digest, _ in part])
        drawn = _stats(_standard(_resampled(stats, picks))[0])
        for row, (digest, _) in enumerate(part):
            own = slice(row * each, (row + 1) * each)
            kept[digest] = (drawn.phi[own].copy(), drawn.line[own].copy(), drawn.step[own].copy())
            memo.put(name, digest, kept[digest], 24 * each + 600)
    return [one for one in (kept[digest] for digest, _ in told) if one is not None]


def _picks(digest: bytes, seed: int, each: int, length: int) -> Ints:
    random = np.random.default_rng((seed, length, int.from_bytes(digest[:8], "big")))
    return random.integers(0, length - 1, size=(each, _WARM + length))


@dataclass(frozen=True, slots=True)
class _Null:
    """What the competition comes to by chance, apart for each class of autocorrelation as it is estimated."""

    cuts: Floats
    lines: tuple[Floats, ...]
    steps: tuple[Floats, ...]
    scores: tuple[Floats, ...]

    @classmethod
    def of(cls, nulls: Sequence[tuple[Floats, Floats, Floats]]) -> _Null:
        """Gather the resamples of one band of lengths: autocorrelation, gain of a line, gain of a step."""
        phi, line, step = (np.concatenate([one[part] for one in nulls]) for part in range(3))
        cuts = np.unique(np.quantile(phi, np.linspace(0, 1, _CLASSES + 1)[1:-1]))
        cuts = cuts[cuts > phi.min()]
        which = np.searchsorted(cuts, phi, side="right")
        lines = tuple(line[which == one] for one in range(len(cuts) + 1))
        steps = tuple(step[which == one] for one in range(len(cuts) + 1))
        # The better of the two is judged against the better of the two in each resample.
        scores = tuple(
            -np.log(np.minimum(tail_p(own, own), tail_p(other, other))) for own, other in zip(lines, steps, strict=True)
        )
        return cls(cuts, lines, steps, scores)

    def p(self, stats: _Stats) -> Floats:
        """Return the chance of each row's better gain."""
        which = np.searchsorted(self.cuts, stats.phi, side="right")
        out = np.ones(len(which))
        for one in np.unique(which):
            part = which == one
            least = np.minimum(
                tail_p(self.lines[int(one)], stats.line[part]), tail_p(self.steps[int(one)], stats.step[part])
            )
            out[part] = tail_p(self.scores[int(one)], -np.log(least))
        return out


def _told(stats: _Stats, row: int, spread: float, p: float) -> tuple[ChangeTest, Fitted]:
    """Put one row's answer into its own unit."""
    length = stats.residuals.shape[1]
    trend = bool(stats.lean[row] >= 0.0)
    effect = float((stats.line_effect if trend else stats.step_effect)[row]) * spread
    error = float((stats.line_error if trend else stats.step_error)[row]) * spread
    season = int(stats.season[row])
    residuals = stats.residuals[row] * spread
    scale = float(_spread(residuals[None, :])[0])
    test = ChangeTest(
        kind="trend" if trend else "shift", p=p, at=0 if trend else int(stats.step_at[row]), effect=effect,
        low=effect - 1.96 * error, high=effect + 1.96 * error, scale=scale, phi=float(stats.phi[row]),
        period=None if season < 0 else float(length / _frequencies(length)[season]),
    )  # fmt: skip
    return test, Fitted(residuals, scale)
