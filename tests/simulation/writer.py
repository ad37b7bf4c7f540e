"""Writes decisions for ever, eight at once, and prints the number of each once it is acknowledged."""

from __future__ import annotations

import asyncio
import sys

from latewood.memory import Memory


async def write(memory: Memory, number: int) -> None:
    seen = await memory.observe(f"item:{number}", "level", number)
    await memory.decide(
        f"Decision {number}",
        because="a test says so",
        about=[f"item:{number}"],
        evidence=[seen],
        key=f"d:{number}",
        idempotency_key=f"op-{number}",
    )
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


async def main() -> None:
    async with Memory.open(sys.argv[1], by="agent:writer") as memory:
        number = int(sys.argv[2])
        while True:
            await asyncio.gather(*(write(memory, number + step) for step in range(8)))
            number += 8


asyncio.run(main())
