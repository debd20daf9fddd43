"""A server that echoes, obeys the commands of serve (goends_test.go), and
prints one line for each connection that ended. It lives as long as its
standard input."""

import asyncio
import json
import sys
from urllib.parse import parse_qs, urlsplit

import websockets
from common import close, extensions, fragments, payload, ping
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory


async def connection(ws):
    connection_id = parse_qs(urlsplit(ws.path).query)["id"][0]
    try:
        # Tasks, because pings and closes wait for frames that recv sees.
        tasks = []
        async for data in ws:
            if isinstance(data, str) and data.startswith("!"):
                tasks.append(asyncio.create_task(obey(ws, data)))
            else:
                await ws.send(data)
    except websockets.ConnectionClosedError:
        pass
    await ws.wait_closed()
    end = {"id": connection_id, "code": ws.close_code, "reason": ws.close_reason}
    print(json.dumps(end), flush=True)


async def obey(ws, text):
    word, _, rest = text.partition(" ")
    if word == "!subprotocol":
        await ws.send(ws.subprotocol or "")
    elif word == "!ping":
        await ping(ws)
        await ws.send("pong")
    elif word == "!fragments":
        pieces, op, size, chunk = rest.split(" ", 3)
        await fragments(ws, payload(op, chunk, int(size)), int(pieces))
    elif word == "!flood":
        n, size, code = map(int, rest.split())
        for _ in range(n):
            await ws.send(payload("binary", "", size))
        await close(ws, code, "")
    elif word == "!close":
        code, _, reason = rest.partition(" ")
        await close(ws, int(code), reason)
    elif word == "!cut":
        ws.transport.abort()
    else:
        raise ValueError(text)


async def main():
    deflate = extensions(ServerPerMessageDeflateFactory)
    server = await websockets.serve(
        connection,
        "127.0.0.1",
        0,
        subprotocols=["v2.peers.test"],
        ping_interval=None,
        **({"extensions": deflate, "compression": None} if deflate else {}),
    )
    print("listening on 127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
