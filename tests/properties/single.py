"""Random histories of one key: the write-once rows against the definition, at every (valid_at, known_at)."""

from __future__ import annotations

import random

from latewood.graph_schema.clock import FOREVER
from latewood.graph_schema.resolution import Claim, Stretch, holder, merge_windows, resolve, sweep, visible

STARTS = 12
SPAN = 22


def tell(rnd: random.Random) -> tuple[list[Claim], list[Stretch], int]:
    """Tell one random history: the claims in the end, the rows that write-once repair left, and its last instant."""
    claims: list[Claim] = []
    rows: list[Stretch] = []
    now = 0
    for _ in range(rnd.randrange(1, 12)):
        now += rnd.choice((1, 2, 5))
        changed: list[Claim] = []
        for ordinal in range(rnd.choice((1, 1, 2))):
            live = [claim for claim in claims if claim.retracted_at == FOREVER and claim.recorded_at < now]
            if live and rnd.random() < 0.25:
                gone = rnd.choice(live)
                claims[claims.index(gone)] = gone._replace(retracted_at=now)
                changed.append(gone)
                continue
            start = rnd.randrange(STARTS)
            end = rnd.choice((FOREVER, FOREVER, start + rnd.randrange(1, 8)))
            made = Claim(
                len(claims), start, end, rnd.randrange(2), rnd.choice((1, 1, 0)), rnd.randrange(5), now, ordinal,
                absent=rnd.random() < 0.2,
            )  # fmt: skip
            claims.append(made)
            changed.append(made)
        windows = merge_windows((claim.valid_from, claim.valid_to) for claim in changed)
        counting = [claim for claim in claims if claim.retracted_at == FOREVER]
        layout = [held for window in windows for held in sweep(counting, window)]
        touched = [
            row
            for row in rows
            if row.retired_at == FOREVER
            and any(row.valid_from < end and row.valid_to > start for start, end in windows)
        ]
        repair = resolve(windows, layout, touched, now)
        for row, end in repair.closes:
            assert row.valid_to == row.closed_at == FOREVER
            rows[rows.index(row)] = row._replace(valid_to=end, closed_at=now)
        for row in repair.retires:
            rows[rows.index(row)] = row._replace(retired_at=now)
        rows += repair.inserts
    return claims, rows, now


def check_keys(histories: int, seed: int) -> float:
    """Compare *histories* random histories; return the rows a claim. Raises AssertionError with the seed."""
    claims_told = rows_left = 0
    for number in range(histories):
        claims, rows, last = tell(random.Random(f"{seed}:{number}"))
        claims_told += len(claims)
        rows_left += len(rows)
        for valid_at in range(-1, SPAN):
            for known_at in {-1, last, *(row.recorded_at for row in rows), *(row.recorded_at - 1 for row in rows)}:
                held = holder(claims, valid_at, known_at)
                wanted = [] if held is None or held.absent else [held.fact]
                found = [row.fact for row in rows if visible(row, valid_at, known_at)]
                assert found == wanted, f"seed {seed}:{number} at ({valid_at}, {known_at}): {found}, not {wanted}"
    return rows_left / max(1, claims_told)
