"""Call tools of `smsweep mcp` with the client of the package `mcp`. Reads JSON from stdin and prints JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


def filled(value: Any, known: dict[str, str]) -> Any:
    """Return arguments with `$sweep` and `$again` replaced by the ids of earlier answers."""
    text = json.dumps(value)
    for name, known_id in known.items():
        text = text.replace(f"${name}", known_id)
    return json.loads(text)


async def ask(question: dict[str, Any]) -> dict[str, Any]:
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", *question["module"], "mcp", *question["options"]],
        cwd=question["folder"],
        env=question["environ"],
    )
    known: dict[str, str] = {}
    async with stdio_client(parameters) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        tools = await session.list_tools()

        async def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
            try:
                answer = await session.call_tool(name, filled(arguments, known), read_timeout_seconds=60)
            except Exception as err:  # the server was killed
                return {"is_error": True, "text": f"no answer: {err}"}
            text = answer.content[0].text
            if not answer.is_error:
                document = json.loads(text)
                known.update(
                    {key: document[key] for key in ("sweep", "again") if isinstance(document.get(key), str)}
                )
            return {"is_error": answer.is_error, "text": text}

        answers: list[Any] = []
        for step in question["steps"]:
            if step == "wait":  # until no trial of the last sweep is open
                last = "$again" if "again" in known else "$sweep"
                while True:
                    found = json.loads((await call("status", {"sweep": last}))["text"])["sweep"]
                    if found["state"] == "finished" and not {"pending", "running"} & set(found["trials"]):
                        break
                    await asyncio.sleep(0.2)
            elif isinstance(step[0], list):  # calls at the same time
                answers.append(await asyncio.gather(*(call(*one) for one in step)))
            else:
                answers.append(await call(*step))
    return {"tools": [tool.model_dump(by_alias=True) for tool in tools.tools], "answers": answers}


print(json.dumps(asyncio.run(ask(json.load(sys.stdin)))))
