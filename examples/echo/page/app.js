"use strict";
// Everything here is the browser's own WebSocket API: there is no library.

const $ = (id) => document.getElementById(id);
const states = ["CONNECTING", "OPEN", "CLOSING", "CLOSED"];
const shown = 2048; // characters of a message that the log shows
const kept = 500; // lines that it keeps

let socket = null;
let waiting = []; // when each message was sent whose echo has not come
let trips = []; // the latest round-trip times in ms
let sent = 0;
let received = 0;

$("url").value = location.origin.replace(/^http/, "ws") + "/ws";

$("connectForm").addEventListener("submit", (event) => {
  event.preventDefault();
  connect($("url").value.trim(), $("subprotocol").value.split(",").map((s) => s.trim()).filter(Boolean));
});

function connect(url, protocols) {
  let s;
  try {
    s = new WebSocket(url, protocols);
  } catch (err) {
    return log("error", err.message);
  }
  socket = s;
  s.binaryType = "arraybuffer";
  waiting = [];
  log("info", "connecting to " + url);
  s.addEventListener("open", () => {
    log("info", "open");
    $("text").focus();
    show();
  });
  s.addEventListener("message", (event) => receive(event.data));
  s.addEventListener("error", () => log("error", "error: the browser says no more; the close event may"));
  s.addEventListener("close", (event) => {
    const reason = event.reason ? ` “${event.reason}”` : "";
    log(event.wasClean ? "info" : "error", `closed: code ${event.code}${reason}, ${event.wasClean ? "clean" : "not clean"}`);
    show();
  });
  show();
}

$("closeForm").addEventListener("submit", (event) => {
  event.preventDefault();
  const code = $("closeCode").value.trim();
  const reason = $("closeReason").value;
  // What the API and RFC 6455 allow a page to send; the browser would throw.
  const codeOK = code === "" ? reason === "" : code === "1000" || /^[34]\d{3}$/.test(code);
  const reasonOK = new TextEncoder().encode(reason).length <= 123;
  $("closeCode").setAttribute("aria-invalid", String(!codeOK));
  $("closeReason").setAttribute("aria-invalid", String(!reasonOK));
  if (!codeOK) return log("error", "close code: want 1000 or 3000 to 4999, or neither code nor reason");
  if (!reasonOK) return log("error", "close reason: want 123 bytes at most");
  if (code === "") socket.close();
  else socket.close(Number(code), reason);
  show();
});

$("sendForm").addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket === null || socket.readyState !== WebSocket.OPEN) return;
  const text = $("text").value;
  send($("kind").value === "binary" ? new TextEncoder().encode(text).buffer : text);
  $("text").value = "";
});

$("file").addEventListener("change", async () => {
  await sendFiles([...$("file").files]);
  $("file").value = "";
});

for (const type of ["dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(type, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", type === "dragover");
    if (type === "drop") sendFiles([...event.dataTransfer.files]);
  });
}

async function sendFiles(files) {
  for (const file of files) {
    if (socket === null || socket.readyState !== WebSocket.OPEN) return log("error", `${file.name}: not connected`);
    log("info", `file ${file.name}`);
    send(await file.arrayBuffer());
  }
}

function send(data) {
  socket.send(data);
  waiting.push(performance.now());
  sent++;
  log("out", preview(data), data);
  show();
}

function receive(data) {
  received++;
  const since = waiting.shift();
  const rtt = since === undefined ? undefined : performance.now() - since;
  if (rtt !== undefined) trips = [...trips.slice(-99), rtt];
  log("in", preview(data), data, rtt);
  show();
}

// preview returns the start of a message: text as it is, the rest in hex.
function preview(data) {
  if (typeof data === "string") return data.length > shown ? data.slice(0, shown) + "…" : data;
  const bytes = new Uint8Array(data, 0, Math.min(data.byteLength, 64));
  const hex = [...bytes].map((b) => b.toString(16).padStart(2, "0")).join(" ");
  return data.byteLength > bytes.length ? hex + " …" : hex;
}

function log(dir, text, data, rtt) {
  const li = document.createElement("li");
  const body = document.createElement("span");
  const meta = document.createElement("span");
  body.className = "body";
  meta.className = "meta";
  body.textContent = text;
  li.dataset.dir = dir;
  if (data !== undefined) {
    const isText = typeof data === "string";
    const size = isText ? new TextEncoder().encode(data).length : data.byteLength;
    li.dataset.type = isText ? "text" : "binary";
    li.dataset.size = size;
    meta.textContent = `${li.dataset.type} ${bytes(size)}`;
  }
  if (rtt !== undefined) {
    li.dataset.rtt = rtt.toFixed(2);
    meta.textContent += ` · ${milliseconds(rtt)}`;
  }
  li.append(body, meta);
  const list = $("log");
  const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 4;
  list.append(li);
  while (list.children.length > kept) list.firstChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

$("clear").addEventListener("click", () => $("log").replaceChildren());

function bytes(n) {
  if (n < 1024) return `${n} B`;
  if (n < 1024 * 1024) return `${(n / 1024).toFixed(1)} KiB`;
  return `${(n / 1024 / 1024).toFixed(1)} MiB`;
}

function milliseconds(ms) {
  return ms < 10 ? `${ms.toFixed(2)} ms` : `${Math.round(ms)} ms`;
}

// show brings the facts up to date. bufferedAmount has no event, so it is
// looked at with every frame of the screen for as long as it is not 0.
function show() {
  const state = states[socket === null ? WebSocket.CLOSED : socket.readyState];
  const open = state === "OPEN";
  $("state").textContent = state;
  $("state").dataset.state = state;
  $("buffered").textContent = bytes(socket === null ? 0 : socket.bufferedAmount);
  $("protocol").textContent = (socket && socket.protocol) || "–";
  $("extensions").textContent = (socket && socket.extensions) || "–";
  $("sent").textContent = sent;
  $("received").textContent = received;
  $("rtt").textContent = trips.length ? milliseconds([...trips].sort((a, b) => a - b)[trips.length >> 1]) : "–";
  $("connect").disabled = state !== "CLOSED";
  $("disconnect").disabled = !open && state !== "CONNECTING";
  $("send").disabled = $("file").disabled = !open;
  if (socket && socket.bufferedAmount > 0 && state !== "CLOSED") requestAnimationFrame(show);
}
show();
