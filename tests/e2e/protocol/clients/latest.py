"""The official client of the newest line, in the era that the server offers."""

import asyncio
import json
import sys

from mcp import Client


async def main(url: str) -> None:
    async with Client(url) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        written = await client.call_tool("decide", {"choice": "Use the newest client", "because": "it is there"})
        read = await client.call_tool("recall", {"query": "newest client"})
        print(json.dumps({"tools": tools, "id": written.structured_content["id"], "text": read.content[0].text}))


asyncio.run(main(sys.argv[1]))
