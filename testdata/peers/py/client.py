"""A client process: reads one job per line, prints one line of what it saw."""

import asyncio
import json
import sys
import traceback

import websockets
from common import close, extensions, fragments, message, payload, ping
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory


async def play(job):
    events = []
    deflate = extensions(ClientPerMessageDeflateFactory)
    async with websockets.connect(
        job["url"],
        subprotocols=job["offer"] or None,
        ping_interval=None,
        **({"extensions": deflate, "compression": None} if deflate else {}),
    ) as ws:
        events.append({"op": "open", "text": ws.subprotocol or ""})
        for step in job["steps"]:
            await do(ws, step, events.append)
    return events


async def do(ws, step, saw):
    what = step["do"]
    data = payload(step.get("op"), step["chunk"], step.get("size", 0))
    if what == "send":
        await ws.send(data)
    elif what == "fragments":
        between = (lambda: ping(ws)) if step.get("ping") else None
        await fragments(ws, data, step["pieces"], between)
    elif what == "recv":
        saw(message(await ws.recv()))
    elif what == "ping":
        await ping(ws)
        saw({"op": "pong"})
    elif what == "close":
        await close(ws, step["code"], step.get("reason", ""))
        saw({"op": "closed", "code": ws.close_code})
    elif what == "closed":
        await ws.wait_closed()
        saw({"op": "closed", "code": ws.close_code, "text": ws.close_reason})
    elif what == "cut":
        ws.transport.abort()
    else:
        raise ValueError(step)


for line in sys.stdin:
    try:
        answer = {"events": asyncio.run(play(json.loads(line)))}
    except Exception:
        answer = {"error": traceback.format_exc()}
    print(json.dumps(answer), flush=True)
