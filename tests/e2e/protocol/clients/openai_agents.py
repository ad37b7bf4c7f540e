"""The OpenAI agents' client, over HTTP; with more words than an address, over the stdio of the command they make."""

import asyncio
import json
import sys

from agents.mcp import MCPServerStdio, MCPServerStreamableHttp


async def main(words: list[str]) -> None:
    server = (
        MCPServerStreamableHttp(params={"url": words[0]})
        if len(words) == 1
        else MCPServerStdio(params={"command": words[0], "args": words[1:]}, client_session_timeout_seconds=60)
    )
    async with server:
        tools = [tool.name for tool in await server.list_tools()]
        written = await server.call_tool("decide", {"choice": "Use these agents", "because": "they are there"})
        read = await server.call_tool("recall", {"query": "these agents"})
        wrote = json.loads(written.content[0].text)
        print(json.dumps({"tools": tools, "id": wrote["id"], "text": read.content[0].text}))


asyncio.run(main(sys.argv[1:]))
