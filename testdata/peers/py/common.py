"""What client.py and server.py share: see script_test.go."""

import json
import sys
import zlib

BINARY_PATTERN = bytes((i * 7 + 3) & 0xFF for i in range(256))


def payload(op, chunk, size):
    """What a message consists of: str for text, bytes for binary."""
    pattern = chunk.encode() if op == "text" else BINARY_PATTERN
    data = (pattern * (size // len(pattern) + 1))[:size] if size else b""
    return data.decode() if op == "text" else data


def message(data):
    """The event of receiving data."""
    op, data = ("text", data.encode()) if isinstance(data, str) else ("binary", data)
    return {"op": op, "size": len(data), "crc": zlib.crc32(data)}


async def fragments(ws, data, pieces, between=None):
    """Sends data in pieces and an empty last frame; text between characters."""

    async def parts():
        for i in range(pieces):
            if i > 0 and between:
                await between()
            yield data[len(data) * i // pieces : len(data) * (i + 1) // pieces]

    await ws.send(parts())


async def close(ws, code, reason):
    """Does the closing handshake; 1005 stands for an empty close frame."""
    if code != 1005:
        await ws.close(code, reason)
        return
    # close() has no way to send no code; this is what it calls.
    from websockets.frames import Close

    await ws.write_close_frame(Close(1005, ""), b"")
    await ws.wait_closed()


async def ping(ws):
    """Returns when the pong has come."""
    await (await ws.ping())


def extensions(factory):
    """permessage-deflate as the argument says, if there is one."""
    return [factory(**json.loads(sys.argv[1]))] if len(sys.argv) > 1 else None
