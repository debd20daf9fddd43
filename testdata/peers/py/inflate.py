"""Inflates messages by zlib, with windows of exactly the size that it is told:
reads a job (zlibJob in zlib_test.go) per line, prints a line with the CRC of
each message."""

import base64
import json
import sys
import zlib


def inflate(stream, message):
    """What comes of a message, in small steps: zlib looks for what is beyond
    the window in what it has put out during the same call."""
    data, out = base64.b64decode(message) + b"\0\0\xff\xff", bytearray()
    while data:
        out += stream.decompress(data, 64)
        data = stream.unconsumed_tail
    while more := stream.decompress(b"", 64):
        out += more
    return out


for line in sys.stdin:
    job = json.loads(line)
    try:
        stream, sums = None, []
        for message in job["messages"]:
            if stream is None or not job["takeover"]:
                stream = zlib.decompressobj(wbits=-job["bits"])
            sums.append(zlib.crc32(inflate(stream, message)))
        answer = {"sums": sums}
    except zlib.error as err:
        answer = {"error": str(err)}
    print(json.dumps(answer), flush=True)
