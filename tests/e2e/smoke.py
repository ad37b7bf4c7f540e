"""Everything from one command, on a bare machine: `python tests/e2e/smoke.py` in a fresh folder of its own.

One `latewood serve` over one file; what is killed is killed with SIGKILL. Prints a table of what was seen, and ends with
1 where something was not.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, cast

import httpx
from standardwebhooks import Webhook

PROGRAM: Final = [sys.executable, "-c", "from latewood.clients.cli import main; main()"]
WAIT_S: Final = 90.0
LEASE_S: Final = 4.0
QUESTION_S: Final = 3.0
FLOWS: Final = f"""
import os, signal
from pathlib import Path
from latewood.execution import ask, step, workflow

@step()
async def part(number: int) -> int:
    with Path("calls.txt").open("a") as file:
        file.write(f"{{number}}\\n")
    if number == 4 and not Path("killed").exists():
        Path("killed").write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number

@workflow()
async def five() -> list[int]:
    return [await part(number) for number in range(1, 6)]

@workflow(owner="human:ada")
async def approval() -> str:
    return str(await ask("Send it?", choices=["yes", "no"], deadline_s={QUESTION_S}, on_timeout="escalate"))
"""
CONSUMER: Final = f"""
import asyncio, sys, time
from latewood.memory import Memory
from latewood.memory.messages import messages_of

async def main(mode: str) -> None:
    async with Memory.open("smoke.db", by="agent:synthesis", embedder="none") as memory:
        messages = messages_of(memory)
        if mode == "sender":
            await messages.make_channel("findings", owner="human:ada")
            await messages.make_channel("reports", owner="human:ada")
            return
        if mode == "publisher":
            print((await messages.publish("findings", {{"carrier": "A", "late": 3}})).id, flush=True)
            return
        if mode == "counter":
            print(await messages.waiting("findings"), await messages.waiting("reports"), flush=True)
            return
        received = ()
        while not received:
            received = await messages.receive("findings", wait_s=5, lease_s={LEASE_S})
        (one,) = received
        made = await messages.publish(
            "reports", one.message.data, idempotency_key="report of " + one.message.id, caused_by=[one.message.id]
        )
        print(one.message.id, made.duplicate, flush=True)
        if mode == "lost":
            time.sleep(600)
        await messages.ack(one)
        print("acked", flush=True)

asyncio.run(main(sys.argv[1]))
"""


@dataclass
class Smoke:
    """What was seen so far, each as what was looked for, whether it was there, and in words."""

    folder: Path
    db: str = "smoke.db"
    rows: list[tuple[str, bool, str, float]] = field(default_factory=list[tuple[str, bool, str, float]])
    posted: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    env: dict[str, str] = field(default_factory=dict[str, str])
    url: str = ""

    def run(self, *words: str) -> Any:
        """Run a command that must succeed, and return its JSON."""
        done = subprocess.run(
            [*PROGRAM, *words, "--db", self.db, "--json"], cwd=self.folder, env=self.env, text=True,
            capture_output=True, check=False, timeout=WAIT_S,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return json.loads(done.stdout)

    def consumer(self, mode: str) -> subprocess.Popen[str]:
        """Start a program that uses the store beside the server."""
        words = [sys.executable, "consumer.py", mode]
        return subprocess.Popen(words, cwd=self.folder, env=self.env, text=True, stdout=subprocess.PIPE)

    def said(self, mode: str) -> str:
        """Return what such a program prints until its end."""
        out, _ = self.consumer(mode).communicate(timeout=WAIT_S)
        return out.strip()

    def ask(self, query: str, **variables: object) -> Any:
        """Ask the server over GraphQL."""
        answer = httpx.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=30).json()
        if "errors" in answer:
            raise RuntimeError(json.dumps(answer["errors"]))
        return answer["data"]

    def start_run(self, workflow: str) -> str:
        """Begin a run that the server's own workers do."""
        given = {"workflow": workflow, "runner": "WORKER", "by": "human:ada"}
        query = "mutation($input: StartRunInput!) { startRun(input: $input) { run { id } } }"
        return self.ask(query, input=given)["startRun"]["run"]["id"]

    def run_is(self, run: str, *statuses: str) -> dict[str, Any] | None:
        """Return a run once it stands where it is to."""
        told = self.ask("query($id: String!) { run(id: $id) { status output } }", id=run)["run"]
        return told if told["status"] in statuses else None

    def see(self, what: str, seen: bool, words: str, began: float) -> None:
        """Add a row to the table."""
        self.rows.append((what, seen, words, time.monotonic() - began))

    def table(self) -> str:
        """Write what was seen."""
        lines = [
            f"{'ok' if ok else 'NOT SEEN':9}{seconds:6.1f} s  {what}: {words}" for what, ok, words, seconds in self.rows
        ]
        return "\n".join(lines)


def environment() -> dict[str, str]:
    """Return what programs are started with: no setting of this machine, and leave to post to it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LATEWOOD_")}
    return {**kept, "LATEWOOD_WEBHOOK_NETWORKS": "127.0.0.0/8", "LATEWOOD_EMBEDDER": "none"}


def until(look: Callable[[], Any], wait_s: float = WAIT_S) -> Any:
    """Look until there is something; None when there was not in time."""
    end = time.monotonic() + wait_s
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.1)
    return None


@contextmanager
def listening(smoke: Smoke) -> Generator[str]:
    """Be a system elsewhere that is posted to."""

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            smoke.posted.append({"headers": dict(self.headers.items()), "body": body})
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that it has
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/in"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def served(smoke: Smoke, log: Path) -> Generator[subprocess.Popen[str]]:
    """Have the one command run."""
    words = [*PROGRAM, "serve", "--db", smoke.db, "--port", "0", "--json", "--workflows", "flows"]
    with log.open("a") as errors:
        process = subprocess.Popen(
            words, cwd=smoke.folder, env=smoke.env, text=True, stdout=subprocess.PIPE, stderr=errors
        )
        try:
            lines: list[str] = []
            for line in cast("Any", process.stdout):
                lines.append(line)
                if line == "}\n":
                    break
            smoke.url = json.loads("".join(lines))["url"]
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=WAIT_S)


def hand_over(smoke: Smoke, secret: str) -> None:
    """B1: a consumer is killed with a message in its hands; another gets it within the lease, and the effect is once."""
    began = time.monotonic()
    sent = smoke.said("publisher")
    lost = smoke.consumer("lost")
    got = cast("Any", lost.stdout).readline().split()
    os.kill(lost.pid, signal.SIGKILL)
    lost.communicate()
    killed_at = time.monotonic()
    second = smoke.said("heir").split()
    took_s = time.monotonic() - killed_at
    same = got[:1] == [sent] == second[:1] and second[-1:] == ["acked"]
    # The start of the second program is a part of the time.
    smoke.see(
        "B1 redelivered",
        same and took_s < 2 * LEASE_S + 20,
        f"{took_s:.1f} s after SIGKILL, lease {LEASE_S:g} s",
        began,
    )
    posts: list[dict[str, Any]] = until(lambda: list(smoke.posted)) or []
    checked = [Webhook(secret).verify(one["body"], one["headers"])["data"] for one in posts]
    once = got[1:2] == ["False"] and second[1:2] == ["True"] and checked == [{"carrier": "A", "late": 3}]
    words = f"second report was a duplicate: {second[1:2] == ['True']}; posted, signed, {len(checked)} time"
    smoke.see("B1 effect once", once, words, began)


def resume(smoke: Smoke, before: subprocess.Popen[str], log: Path) -> None:
    """D1: the server itself is killed within step 4 of 5; started again, it pays for no completed step twice."""
    began = time.monotonic()
    run = smoke.start_run("five")
    before.wait(timeout=WAIT_S)
    with served(smoke, log):
        done = until(lambda: smoke.run_is(run, "DONE", "ESCALATED", "REFUSED"))
        calls = Counter((smoke.folder / "calls.txt").read_text().split())
        output = None if done is None else done["output"]
        seen = before.returncode == -signal.SIGKILL and output == [1, 4, 9, 16, 25]
        counted = {number: calls[str(number)] for number in range(1, 6)}
        smoke.see("D1 resumed", seen and counted == {1: 1, 2: 1, 3: 1, 4: 2, 5: 1}, f"calls {counted}, {output}", began)
        clock(smoke)
        patterns(smoke)
        posted = len(smoke.posted)
        smoke.see("B1 still once", posted == 1, f"posted {posted} time after the restart", began)
    shown = [smoke.run("ledger", "verify", "--ledger", one) for one in ("knowledge", "execution")]
    sound = all(one["rows"] and one["badSeq"] is None for one in shown)
    smoke.see("the ledgers verify", sound, f"{sum(one['rows'] for one in shown)} rows, after one end by SIGKILL", began)


def clock(smoke: Smoke) -> None:
    """G2: nobody answers, nobody looks, and the server escalates when the time is over."""
    began = time.monotonic()
    run = smoke.start_run("approval")
    ended = until(lambda: smoke.run_is(run, "ESCALATED", "DONE", "REFUSED"))
    took_s = time.monotonic() - began
    seen = ended is not None and ended["status"] == "ESCALATED" and took_s >= QUESTION_S
    smoke.see("G2 escalated", seen, f"{took_s:.1f} s after a question with {QUESTION_S:g} s", began)


def patterns(smoke: Smoke) -> None:
    """A pattern is found by the server, of what was said while it ran."""
    began = time.monotonic()
    said = "mutation($input: ObserveInput!) { observe(input: $input) { id } }"
    for week in range(6):
        given = {
            "subject": "project:1", "predicate": "vendor", "value": "AB"[week % 2], "by": "human:ada",
            "validFrom": f"2026-0{week + 1}-05T00:00:00Z",
        }  # fmt: skip
        smoke.ask(said, input=given)
    query = "{ patterns(first: 5, hidden: true) { edges { node { kind statement } } } }"
    found: list[Any] = until(lambda: smoke.ask(query)["patterns"]["edges"]) or []
    words = "; ".join(one["node"]["statement"] for one in found) or "none"
    smoke.see("a pattern found", bool(found), words, began)


def smoke_in(folder: Path) -> Smoke:
    """Do all of it in *folder*, which has to be empty."""
    smoke, log = Smoke(folder, env=environment()), folder / "serve.log"
    (folder / "flows.py").write_text(FLOWS)
    (folder / "consumer.py").write_text(CONSUMER)
    smoke.said("sender")
    with listening(smoke) as elsewhere:
        made = smoke.run("webhooks", "add", "elsewhere", "reports", elsewhere, "--owner", "human:ada")
        with served(smoke, log) as server:
            hand_over(smoke, made["secret"])
            resume(smoke, server, log)
    return smoke


def main() -> int:
    """Smoke, in a temporary folder; the exit code is 1 where something was not seen."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        smoke = smoke_in(Path(folder))
    sys.stdout.write(f"{smoke.table()}\n{time.monotonic() - began:.0f} s in all\n")
    return 0 if all(ok for _, ok, _, _ in smoke.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
