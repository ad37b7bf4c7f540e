"""`latewood messages` and `latewood dead-letters`, as somebody at a terminal uses them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from latewood.clients.cli import app
from latewood.clients.cli.settling import CLASSES
from latewood.execution import Fault, FaultClass
from latewood.execution.messages import Settled
from latewood.memory import Memory
from latewood.memory.messages import messages_of


def run(database: Path, *words: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [*words, "--db", str(database), "--json"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout if code == 0 else result.output)


async def fail(database: Path) -> Settled:
    async with Memory.open(str(database), by="agent:worker", embedder="none") as memory:
        (received,) = await messages_of(memory).receive("orders")
        return await messages_of(memory).nack(received, Fault("permanent", "no such carrier"))


def test_a_message_is_sent_seen_and_redriven(tmp_path: Path) -> None:
    database, schema = tmp_path / "cli.db", tmp_path / "order.json"
    schema.write_text('{"type": "object", "required": ["amount"]}')
    made = run(
        database, "messages", "channel", "orders", "--schema", str(schema), "--owner", "human:ada", "--tries", "schema=7"
    )  # fmt: skip
    sent = run(database, "messages", "send", "orders", '{"amount": 3}', "--subject", "order 7")
    refused = run(database, "messages", "send", "orders", '{"note": "x"}', code=2)
    settled = asyncio.run(fail(database))
    (letter,) = run(database, "dead-letters", "list")["items"]
    shown = run(database, "dead-letters", "show", letter["id"])
    back = run(database, "dead-letters", "redrive", letter["id"])
    waiting = run(database, "messages", "pending", "orders")["items"]
    tries = run(database, "messages", "tries", sent["id"])
    of_letter = run(database, "messages", "tries", letter["id"])

    assert made["groups"][0]["name"] == "default"
    assert (made["policy"]["version"], made["policy"]["rules"]["schema"]["tries"]) == ("schema=7", 7)
    assert refused["error"]["code"] == "message.refused"
    assert settled.dead_letter == letter["id"]
    assert (shown["reason"], shown["owner"], back["status"]) == ("no such carrier", "human:ada", "redriven")
    assert [one["outcome"] for one in tries] == ["dead", "redriven"]
    assert of_letter == tries
    assert len(waiting) == 1


def test_what_is_unsure_goes_to_an_inbox_and_is_settled_there(tmp_path: Path) -> None:
    database, rules = tmp_path / "cli.db", tmp_path / "rules.json"
    rules.write_text(
        '[{"name": "unsure", "when": [{"path": "$.confidence", "op": "<", "value": 0.7}], "to": "human:ada"}]'
    )
    broken = tmp_path / "broken.json"
    broken.write_text('[{"name": "unsure", "to": "human:ada"}]')
    run(database, "messages", "channel", "human:ada")
    refused = run(database, "messages", "channel", "claims", "--rules", str(broken), code=2)
    made = run(database, "messages", "channels")["items"]
    routed = run(database, "messages", "channel", "claims", "--rules", str(rules))
    run(database, "messages", "send", "claims", '{"confidence": 0.62}', "--subject", "claim 12")
    run(database, "messages", "send", "claims", '{"confidence": 0.93}', "--subject", "claim 13")
    told = run(database, "brief", "--by", "human:ada")["lines"]
    (unsure,) = run(database, "messages", "receive", "human:ada", "--by", "human:ada", "--lease", "60")
    back = run(database, "messages", "hand-back", unsure["hold"], "--by", "human:ada")
    (again,) = run(database, "messages", "receive", "human:ada", "--by", "human:ada")
    done = run(database, "messages", "ack", again["hold"], "--by", "human:ada")
    twice = run(database, "messages", "ack", again["hold"], "--by", "human:ada")
    (sure,) = run(database, "messages", "receive", "claims", "--by", "agent:payer")
    odd = run(database, "messages", "nack", sure["hold"], "odd", "no such claim", "--by", "agent:payer", code=2)
    dead = run(database, "messages", "nack", sure["hold"], "permanent", "no such claim", "--by", "agent:payer")
    nothing = run(database, "messages", "receive", "claims")

    assert refused["error"]["code"] == "query.invalid"
    assert [one["name"] for one in made] == ["human:ada"]
    assert routed["routes"]["rules"][0]["name"] == "unsure"
    assert [(line["section"], line["text"].partition(" ")[2].partition(",")[0]) for line in told] == [
        ("yours", "human:ada: claim 12")
    ]
    assert (unsure["message"]["rule"], unsure["message"]["data"]) == ("claims@1/unsure", {"confidence": 0.62})
    assert odd["error"]["message"] == f"'odd' is no class of trouble; they are {', '.join(FaultClass)}"
    assert ", ".join(FaultClass) == CLASSES
    assert (back["handedBack"], again["number"], done["outcome"], twice) == (True, 1, "acked", done)
    assert (sure["message"]["subject"], dead["outcome"], nothing) == ("claim 13", "dead", [])
