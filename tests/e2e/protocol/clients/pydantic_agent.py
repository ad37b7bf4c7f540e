"""A Pydantic AI agent whose model is a test's: it calls the tools that it is told to, with arguments it makes up."""

import asyncio
import json
import sys

from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

CALLS = [
    ("decide", {"choice": "Use Pydantic AI", "because": "it is there"}),
    ("recall", {"query": "Pydantic AI"}),
]


async def main(url: str) -> None:
    tools: list[str] = []
    answers: list[object] = []

    def reply(messages: list, info: AgentInfo) -> ModelResponse:
        tools[:] = [tool.name for tool in info.function_tools]
        answers[:] = [part.content for one in messages for part in one.parts if isinstance(part, ToolReturnPart)]
        if len(answers) == len(CALLS):
            return ModelResponse(parts=[TextPart("done")])
        name, arguments = CALLS[len(answers)]
        return ModelResponse(parts=[ToolCallPart(name, arguments)])

    agent = Agent(FunctionModel(reply), toolsets=[MCPToolset(url)])
    async with agent:
        await agent.run("go")
    wrote, read = (answer if isinstance(answer, dict) else json.loads(str(answer)) for answer in answers)
    print(json.dumps({"tools": tools, "id": wrote["id"], "text": json.dumps(read, ensure_ascii=False)}))


asyncio.run(main(sys.argv[1]))
