// A client process: reads one job per line, prints one line of what it saw.
//
//	node clients.mjs ws|undici [options of ws's perMessageDeflate, as JSON]
import readline from "node:readline";
import { play } from "./client.mjs";

let { WebSocket } = await import(process.argv[2]);
if (process.argv[3]) {
  const perMessageDeflate = JSON.parse(process.argv[3]);
  const Plain = WebSocket;
  WebSocket = class extends Plain {
    constructor(url, protocols) { super(url, protocols, { perMessageDeflate }); }
  };
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = { events: await play(WebSocket, JSON.parse(line)) };
  } catch (err) {
    answer = { error: String(err.stack ?? err) };
  }
  console.log(JSON.stringify(answer));
}
process.exit(0);
