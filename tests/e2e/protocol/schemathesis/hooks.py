"""What schemathesis is told of the product: how its scalars look, and what an answer may be.

Its own check takes whatever fails beside a path for a fault of the server. Here a refusal is an answer, if it says so.
"""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis.graphql import nodes

INSTANTS = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(lambda one: f"{one.isoformat()}Z")  # noqa: DTZ001
LEAVES = st.text(max_size=20).map(nodes.String) | st.integers(-9, 9).map(nodes.Int) | st.booleans().map(nodes.Boolean)
KNOWN = frozenset(json.loads(Path(os.environ["FUZZ_CODES"]).read_text(encoding="utf-8")))
SEEN = Path(os.environ["FUZZ_SEEN"])

schemathesis.graphql.scalar("DateTime", INSTANTS.map(nodes.String))
schemathesis.graphql.scalar("BigInt", st.integers(-(2**53) + 1, 2**53 - 1).map(nodes.Int))
schemathesis.graphql.scalar("JSON", LEAVES | st.just(nodes.List(values=())) | st.just(nodes.Object(fields=())))


@schemathesis.check
def answered_or_refused(ctx: Any, response: Any, case: Any) -> None:
    body = json.loads(response.content)
    errors = body.get("errors", [])
    said = [error.get("extensions", {}) for error in errors]
    with SEEN.open("a", encoding="utf-8") as seen:
        seen.write(json.dumps([case.operation.label, [one.get("code") for one in said]]) + "\n")
    assert response.status_code in {200, 400}, response.status_code
    assert errors or body.get("data") is not None, body
    for error, one in zip(errors, said, strict=True):
        assert one.get("branch") == "refused", error
        assert one["code"] in KNOWN, error
        assert error["message"].strip(), error
