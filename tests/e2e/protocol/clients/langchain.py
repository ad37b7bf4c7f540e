"""LangChain's adapters, which turn each tool into one of LangChain's."""

import asyncio
import json
import sys

from langchain_mcp_adapters.client import MultiServerMCPClient


async def main(url: str) -> None:
    client = MultiServerMCPClient({"latewood": {"transport": "streamable_http", "url": url}})
    tools = {tool.name: tool for tool in await client.get_tools()}
    written = await tools["decide"].ainvoke({"choice": "Use LangChain", "because": "it is there"})
    read = await tools["recall"].ainvoke({"query": "LangChain"})
    print(json.dumps({"tools": list(tools), "id": json.loads(said(written))["id"], "text": said(read)}))


def said(answer: object) -> str:
    return answer if isinstance(answer, str) else answer[0]["text"]


asyncio.run(main(sys.argv[1]))
