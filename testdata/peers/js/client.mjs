// Plays the steps of a scenario (see step in script_test.go) on a WebSocket
// class with the API of browsers: the one of a browser, undici's, or that of
// ws, which adds frames, pings and cuts. Chromium evaluates this file too, so
// it names nothing that only Node has.
export async function play(WebSocket, job) {
  const ws = new WebSocket(job.url, job.offer ?? []);
  ws.binaryType = "arraybuffer";
  const next = inbox(ws);
  const events = [];
  const first = await next();
  if (first.op !== "open") throw new Error(`connection failed: ${first.code} ${first.text ?? ""}`);
  events.push({ op: "open", text: ws.protocol });
  for (const step of job.steps) await steps[step.do](ws, step, next, (e) => events.push(e));
  return events;
}

// inbox returns a function that waits for the next event of ws.
function inbox(ws) {
  const come = [];
  let wake = () => {};
  const put = (e) => { come.push(e); wake(); };
  ws.addEventListener("open", () => put({ op: "open" }));
  ws.addEventListener("message", (e) => put(received(e.data)));
  ws.addEventListener("error", () => {}); // a close event follows
  ws.addEventListener("close", (e) => {
    const strange = e.wasClean !== (e.code !== 1006) ? ` (wasClean ${e.wasClean})` : "";
    put({ op: "closed", code: e.code, text: e.reason + strange });
  });
  return async () => {
    while (come.length === 0) await new Promise((resolve) => { wake = resolve; });
    return come.shift();
  };
}

function received(data) {
  const text = typeof data === "string";
  const bytes = text ? new TextEncoder().encode(data) : new Uint8Array(data);
  return { op: text ? "text" : "binary", size: bytes.length, crc: crc32(bytes) };
}

const steps = {
  async send(ws, step) {
    const bytes = payload(step);
    // A string, so that the library chooses the opcode text by itself.
    ws.send(step.op === "text" ? new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes) : bytes);
  },
  async fragments(ws, step) {
    await sendFragments(ws, step, step.ping ? () => ping(ws) : async () => {});
  },
  async recv(ws, step, next, saw) { saw(await next()); },
  async ping(ws, step, next, saw) { await ping(ws); saw({ op: "pong" }); },
  async close(ws, step, next, saw) {
    if (step.code === 1005) ws.close();
    else ws.close(step.code, step.reason ?? "");
    const { op, code } = await next(); // the reason of an answer is up to the peer
    saw({ op, code });
  },
  async closed(ws, step, next, saw) { saw(await next()); },
  async cut(ws) { ws.terminate(); },
};

export async function sendFragments(ws, { op, chunk, size, pieces }, between) {
  const bytes = payload({ op, chunk, size });
  for (let i = 0; i < pieces; i++) {
    if (i > 0) await between();
    const [from, to] = [i, i + 1].map((n) => Math.floor((bytes.length * n) / pieces));
    ws.send(bytes.subarray(from, to), { binary: op === "binary", fin: i === pieces - 1 });
  }
}

export function ping(ws) {
  return new Promise((resolve) => {
    ws.once("pong", resolve);
    ws.ping("node");
  });
}

// payload is payload of script_test.go.
export function payload({ op, chunk, size = 0 }) {
  const pattern = op === "text" ? new TextEncoder().encode(chunk) : Uint8Array.from({ length: 256 }, (_, i) => i * 7 + 3);
  return Uint8Array.from({ length: size }, (_, i) => pattern[i % pattern.length]);
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
