// WebSockets over TLS with the package ws: node websocket.mjs server PORT CERT KEY compressed|plain,
// node websocket.mjs client ADDRESS CA compressed|plain. The client says what it sent and what came back.
import fs from "node:fs";
import https from "node:https";
import { WebSocket, WebSocketServer } from "ws";
import { say } from "./answer.mjs";

const [, , side, where, ...rest] = process.argv;
const deflate = rest.at(-1) === "compressed" ? { threshold: 0 } : false;

function serve([cert, key]) {
  const server = https.createServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) });
  const sockets = new WebSocketServer({ server, perMessageDeflate: deflate });
  sockets.on("connection", (socket) => {
    socket.on("message", (data, binary) => {
      if (data.toString() === "bye") socket.close(4001, "see you");
      else socket.send(data, { binary }); // an echo
    });
  });
  server.listen(Number(where), "127.0.0.1");
}

async function ask(ca) {
  const socket = new WebSocket(`wss://${where}/chat`, { ca: fs.readFileSync(ca), servername: "shop.example", perMessageDeflate: deflate, headers: { host: "shop.example" } });
  await new Promise((done, failed) => socket.on("open", done).on("error", failed));
  const messages = ["hello", "the same words again and again ".repeat(100), Buffer.alloc(100000, 7), "", "hello"];
  for (const message of messages) {
    const back = new Promise((done) => socket.once("message", done));
    socket.send(message);
    say({ kind: Buffer.isBuffer(message) ? "binary" : "text", sent: Buffer.from(message), received: await back });
  }
  const pong = new Promise((done) => socket.once("pong", done));
  socket.ping("are you there?");
  await pong;
  // A message in three frames.
  const back = new Promise((done) => socket.once("message", done));
  socket.send("one ", { fin: false });
  socket.send("two ", { fin: false });
  socket.send("three", { fin: true });
  say({ kind: "text", sent: Buffer.from("one two three"), received: await back });
  const closed = new Promise((done) => socket.once("close", (code, reason) => done([code, reason.toString()])));
  socket.send("bye");
  const [code, reason] = await closed;
  say({ kind: "close", code, reason });
}

if (side === "server") serve(rest);
else await ask(rest[0]);
