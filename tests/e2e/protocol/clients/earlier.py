"""The official client of the line before, which shakes hands and keeps a session."""

import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


async def main(url: str) -> None:
    async with streamable_http_client(url) as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        tools = [tool.name for tool in (await session.list_tools()).tools]
        written = await session.call_tool("decide", {"choice": "Use the earlier client", "because": "it is there"})
        found = await session.call_tool("recall", {"query": "earlier client"})
        print(json.dumps({"tools": tools, "id": written.structuredContent["id"], "text": found.content[0].text}))


asyncio.run(main(sys.argv[1]))
