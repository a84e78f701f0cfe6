// gRPC over TLS with the package @grpc/grpc-js: node grpc.mjs server PORT CERT KEY, node grpc.mjs client ADDRESS CA. Messages
// are bytes of their own, as gRPC doesn't mind. The client says how each call ended.
import fs from "node:fs";
import grpc from "@grpc/grpc-js";
import { say } from "./answer.mjs";

const [, , side, where, ...rest] = process.argv;
const same = (bytes) => bytes;
const method = (name, requestStream, responseStream) => ({
  path: `/shop.Orders/${name}`, requestStream, responseStream, requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same,
});
const service = {
  get: method("Get", false, false), fail: method("Fail", false, false), list: method("List", false, true),
  put: method("Put", true, false), talk: method("Talk", true, true),
};
// A protobuf message: field 1 is a text.
const message = (text) => Buffer.concat([Buffer.from([10, text.length]), Buffer.from(text)]);

function serve([cert, key]) {
  const server = new grpc.Server({ "grpc.default_compression_algorithm": 2 });
  server.addService(service, {
    get: (call, done) => done(null, call.request),
    fail: (call, done) => done({ code: grpc.status.UNAVAILABLE, details: "no more of it: 100 % sold" }),
    list: (call) => {
      for (let i = 0; i < 50; i++) call.write(message(`item ${i}`));
      call.end();
    },
    put: (call, done) => {
      let n = 0;
      call.on("data", () => n++);
      call.on("end", () => done(null, message(String(n))));
    },
    talk: (call) => {
      call.on("data", (data) => call.write(data));
      call.on("end", () => call.end());
    },
  });
  const secure = grpc.ServerCredentials.createSsl(null, [{ cert_chain: fs.readFileSync(cert), private_key: fs.readFileSync(key) }]);
  server.bindAsync(`127.0.0.1:${where}`, secure, (err) => { if (err) throw err; });
}

async function ask(ca) {
  const client = new (grpc.makeGenericClientConstructor(service))(where, grpc.credentials.createSsl(fs.readFileSync(ca)), {
    "grpc.ssl_target_name_override": "shop.example", "grpc.default_authority": "shop.example", "grpc.default_compression_algorithm": 2,
  });
  // A call ends with its status; the client counts what it has sent and received.
  const call = (name, sends) => new Promise((done) => {
    let received = 0, status;
    const kind = service[name];
    const answered = (err, data) => { if (data) received++; if (status) done({ name, sent: sends.length, received, ...status }); else status = "answered"; };
    const running = kind.requestStream ? client[name](...(kind.responseStream ? [] : [answered])) : client[name](sends[0], ...(kind.responseStream ? [] : [answered]));
    if (kind.responseStream) running.on("data", () => received++).on("error", () => {});
    running.on("status", ({ code, details }) => {
      if (kind.responseStream || status === "answered") done({ name, sent: sends.length, received, code, details });
      else status = { code, details };
    });
    if (kind.requestStream) {
      for (const send of sends) running.write(send);
      running.end();
    }
  });
  say(await call("get", [message("a".repeat(100))]));
  say(await call("fail", [message("b")]));
  say(await call("list", [message("c")]));
  say(await call("put", Array.from({ length: 30 }, () => message("d".repeat(90)))));
  for (const line of await Promise.all([call("talk", [message("e"), message("f"), message("g")]), call("get", [message("h")])])) say(line);
  client.close();
}

if (side === "server") serve(rest);
else await ask(rest[0]);
