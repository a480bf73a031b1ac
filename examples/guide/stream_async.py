"""Print an answer while it is written, without blocking the event loop."""

import asyncio

from langchain_openrouter import ChatOpenRouter


async def main() -> None:
    """Stream one answer."""
    model = ChatOpenRouter(model="anthropic/claude-sonnet-4.5", max_tokens=64)
    async for chunk in model.astream("Write a haiku about the sea."):
        print(chunk.text, end="", flush=True)


asyncio.run(main())
