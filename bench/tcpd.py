"""Cut the series of the Turing Change Point Dataset, with the one setting there is; prints {"series": [first index, ...]}.

    uv run python bench/tcpd.py DATA.json [--json]

DATA.json is {"series": {name: {"y": [[...], ...]}}}; a series of several dimensions is cut by the mean of its standardised ones.
The annotations, if they are in the file, are not read.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from latewood.reasoning.patterns.segments import change_points


def one_series(dimensions: list[list[float | None]]) -> np.ndarray:
    rows = []
    for given in dimensions:
        row = np.asarray([np.nan if value is None else value for value in given], dtype=np.float64)
        gaps = np.isnan(row)
        row[gaps] = np.interp(np.flatnonzero(gaps), np.flatnonzero(~gaps), row[~gaps])
        rows.append((row - row.mean()) / (row.std() or 1.0))
    return np.mean(rows, axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    series = json.loads(args.data.read_text())["series"]
    start = time.process_time()
    found = {name: change_points(one_series(one["y"])) for name, one in series.items()}
    print(f"{len(found)} series in {time.process_time() - start:.2f} CPU s", file=sys.stderr)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
