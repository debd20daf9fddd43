// A client process: reads one job per line, prints one line of what it saw.
//
//	node clients.mjs ws|undici
import readline from "node:readline";
import { play } from "./client.mjs";

const { WebSocket } = await import(process.argv[2]);

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
