// Inflates messages by zlib, with windows of exactly the size that it is told:
// reads a job (zlibJob in zlib_test.go) per line, prints a line with the CRC of
// each message.
import readline from "node:readline";
import zlib from "node:zlib";

const tail = Buffer.from([0, 0, 0xff, 0xff]);

// inflate feeds messages to one stream and returns what comes of each. A chunk
// of output is the smallest possible: zlib looks for what is beyond the window
// in what it has put out during the same call.
async function inflate(bits, messages) {
  const stream = zlib.createInflateRaw({ windowBits: bits, chunkSize: 64 });
  const failed = new Promise((_, reject) => stream.on("error", reject));
  const sums = [];
  for (const m of messages) {
    const out = [];
    stream.on("data", (chunk) => out.push(chunk));
    stream.write(Buffer.concat([Buffer.from(m, "base64"), tail]));
    await Promise.race([failed, new Promise((resolve) => stream.flush(resolve))]);
    await new Promise((resolve) => setImmediate(resolve));
    stream.removeAllListeners("data");
    sums.push(crc32(Buffer.concat(out)));
  }
  stream.close();
  return sums;
}

const crcTable = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const b of bytes) crc = crcTable[(crc ^ b) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { bits, takeover, messages } = JSON.parse(line);
  let answer;
  try {
    const streams = takeover ? [messages] : messages.map((m) => [m]);
    const sums = [];
    for (const s of streams) sums.push(...(await inflate(bits, s)));
    answer = { sums };
  } catch (err) {
    answer = { error: String(err) };
  }
  console.log(JSON.stringify(answer));
}
process.exit(0);
