// A server of ws. It echoes, obeys the commands of serve (goends_test.go), and
// prints one line for each connection that ended. It lives as long as its
// standard input. An argument holds options of perMessageDeflate, as JSON.
import { WebSocketServer } from "ws";
import { payload, ping, sendFragments } from "./client.mjs";

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  perMessageDeflate: process.argv[2] ? JSON.parse(process.argv[2]) : false,
  handleProtocols: (offered) => (offered.has("v2.peers.test") ? "v2.peers.test" : false),
});
server.on("listening", () => console.log(`listening on 127.0.0.1:${server.address().port}`));

server.on("connection", (ws, request) => {
  const id = new URL(request.url, "http://localhost").searchParams.get("id");
  ws.on("message", (data, binary) => {
    const text = binary ? "" : data.toString();
    if (text.startsWith("!")) obey(ws, text);
    else ws.send(data, { binary });
  });
  ws.on("error", (err) => console.error(id, err));
  ws.on("close", (code, reason) => console.log(JSON.stringify({ id, code, reason: reason.toString() })));
});

const commands = {
  "!subprotocol": (ws) => ws.send(ws.protocol),
  "!ping": (ws) => ping(ws).then(() => ws.send("pong")),
  "!fragments": (ws, rest) => {
    const [, pieces, op, size, chunk] = /^(\d+) (\w+) (\d+) (.*)$/s.exec(rest);
    sendFragments(ws, { op, chunk, size: +size, pieces: +pieces }, async () => {});
  },
  "!flood": (ws, rest) => {
    const [n, size, code] = rest.split(" ").map(Number);
    for (let i = 0; i < n; i++) ws.send(payload({ op: "binary", size }));
    ws.close(code);
  },
  "!close": (ws, rest) => {
    const [, code, reason] = /^(\d+) ?(.*)$/s.exec(rest);
    if (code === "1005") ws.close();
    else ws.close(+code, reason);
  },
  "!cut": (ws) => ws.terminate(),
};

function obey(ws, text) {
  const [, word, rest] = /^(\S+) ?(.*)$/s.exec(text);
  commands[word](ws, rest);
}

process.stdin.on("end", () => process.exit(0)).resume();
