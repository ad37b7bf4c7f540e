"""The rows of one key agree with the definition."""

from __future__ import annotations

import os
import random

from properties.single import check_keys


def test_rows_answer_like_the_definition_over_random_histories() -> None:
    seed = int(os.environ.get("LATEWOOD_SEED", str(random.randrange(10**6))))
    rows_a_claim = check_keys(round(1_000 * float(os.environ.get("LATEWOOD_EXAMPLES", "1"))), seed)

    assert rows_a_claim < 1.2
