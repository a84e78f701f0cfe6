// HTTP/1.1 or HTTP/2 over TLS, or without: node http.mjs server PORT CERT KEY, node http.mjs client ADDRESS h1|h2|h2c CA.
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import fs from "node:fs";
import { answer, collect, say } from "./answer.mjs";

const [, , side, where, ...rest] = process.argv;
const name = "shop.example";

async function handle(request, response) {
  const body = answer(request.url, await collect(request));
  if (request.httpVersionMajor === 2) response.stream.additionalHeaders({ ":status": 103, link: "</style.css>; rel=preload" });
  response.writeHead(200, { "content-type": "text/plain", trailer: "x-sum" });
  response.write(body.subarray(0, body.length / 2));
  response.addTrailers({ "x-sum": "7" });
  response.end(body.subarray(body.length / 2));
}

function serve([cert, key]) {
  const server = cert
    ? http2.createSecureServer({ allowHTTP1: true, cert: fs.readFileSync(cert), key: fs.readFileSync(key) }, handle)
    : http2.createServer(handle);
  server.listen(Number(where), "127.0.0.1");
}

const asks = Array.from({ length: 12 }, (_, i) => ({
  Method: i % 3 ? "POST" : "GET",
  Target: `/${i}?size=${[10, 70000, 333333, 0][i % 4]}`,
  Request: Buffer.alloc(i % 3 ? i * 5000 : 0, "3"),
}));

async function askHTTP1(ca) {
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1, ca: fs.readFileSync(ca), servername: name });
  for (const ask of asks) {
    const [host, port] = where.split(":");
    const request = https.request({ agent, host, port, method: ask.Method, path: ask.Target, headers: { host: name } });
    request.end(ask.Request);
    const response = await new Promise((done, failed) => request.on("response", done).on("error", failed));
    say({ ...ask, Status: response.statusCode, Response: await collect(response) });
  }
  agent.destroy();
}

async function askHTTP2(plain, ca) {
  const session = plain ? http2.connect(`http://${where}`) : http2.connect(`https://${where}`, { ca: fs.readFileSync(ca), servername: name });
  await Promise.all(
    asks.map(async (ask) => {
      const stream = session.request({ ":method": ask.Method, ":path": ask.Target, ":authority": name });
      if (ask.Method !== "GET") stream.end(ask.Request);
      const headers = await new Promise((done, failed) => stream.on("response", done).on("error", failed));
      say({ ...ask, Status: headers[":status"], Response: await collect(stream) });
    }),
  );
  await new Promise((done) => session.close(done));
}

if (side === "server") serve(rest);
else if (rest[0] === "h1") await askHTTP1(rest[1]);
else await askHTTP2(rest[0] === "h2c", rest[1]);
