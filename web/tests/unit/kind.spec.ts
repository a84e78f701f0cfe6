import { expect, test } from "@playwright/test";
import { ordered } from "../../src/lib/headers";
import { addressOf, errorOf, kindOf, methodOf, resultOf, sizeOf, sizeWords, targetOf } from "../../src/lib/kind";
import { messageScope } from "../../src/lib/messages";
import type { Doc } from "../../src/lib/types";

const tls: Doc = {
  network: { protocol: "tls" },
  server: { ip: "2001:db8::1", port: 443 },
  tls: { client: { server_name: "shop.example" } },
};
const session: Doc = {
  "@timestamp": "2026-11-09T10:00:00.000000005Z",
  event: { end: "2026-11-09T10:00:01.000000000Z" },
  network: { protocol: "websocket", community_id: "1:abc=" },
  url: { scheme: "https", domain: "shop.example", original: "/chat" },
  http: { request: { method: "GET" }, response: { status_code: 101 } },
};

test("what is no request says what it is", () => {
  expect([kindOf(tls), methodOf(tls), targetOf(tls), addressOf(tls)]).toEqual([
    "tls",
    "TLS",
    "shop.example",
    "shop.example",
  ]);
  expect(targetOf({ ...tls, tls: {}, server: { ip: "2001:db8::1", port: 8443 } })).toBe("[2001:db8::1]:8443");
  expect([kindOf(session), methodOf(session), targetOf(session), addressOf(session)]).toEqual([
    "session",
    "WS",
    "shop.example/chat",
    "wss://shop.example/chat",
  ]);
  const message = (from: string): Doc => ({
    ...session,
    http: { request: { body: { bytes: 5 } }, response: { body: { bytes: 7 } } },
    culprit: { message: { kind: "text", from } },
  });
  expect(methodOf(message("client"))).toBe("→ text");
  expect(methodOf(message("server"))).toBe("← text");
  expect(sizeOf(message("client"))).toBe(5);
  expect(sizeOf(message("server"))).toBe(7);
  expect(kindOf({ ...session, network: { protocol: "http2" } })).toBe("exchange");
});

test("what ended it has the tone of who is to blame", () => {
  const grpc = (code: number, name: string): Doc => ({
    error: { code: name },
    culprit: { grade: "complete", grpc: { status_code: code } },
  });
  expect(errorOf(grpc(14, "UNAVAILABLE"))).toEqual({ name: "UNAVAILABLE", class: "status-5" });
  expect(errorOf(grpc(5, "NOT_FOUND"))).toEqual({ name: "NOT_FOUND", class: "status-4" });
  expect(errorOf({ error: { code: "CANCEL" }, culprit: { grade: "aborted" } })?.class).toBe("status-none");
  expect(errorOf({ error: { code: "1011" }, culprit: { grade: "complete" } })?.class).toBe("status-5");
  expect(errorOf({ culprit: { grade: "complete" } })).toBeUndefined();
});

test("pseudo-headers come first, and trailers apart", () => {
  const response = (bytes: number): Doc => ({
    http: {
      response: {
        mime_type: "application/grpc",
        body: { bytes },
        headers: { date: ["x"], ":status": ["200"], trailer: ["X-Sum"], "x-sum": ["1"], "grpc-status": ["0"] },
      },
    },
  });
  expect(ordered(response(9), "response")).toEqual({
    head: [
      [":status", "200"],
      ["date", "x"],
      ["trailer", "X-Sum"],
    ],
    trailers: [
      ["x-sum", "1"],
      ["grpc-status", "0"],
    ],
  });
  // Without messages these are the headers.
  expect(ordered(response(0), "response").trailers).toEqual([["x-sum", "1"]]);
});

test("messages are looked for within their session", () => {
  const scope = messageScope(session)!;
  expect(scope["from"]).toBe("2026-11-09T10:00:00.000000005Z");
  expect(scope["to"]).toBe("2026-11-09T10:00:01.000000001Z");
  expect(scope["where"]).toBe(
    'network.community_id == "1:abc=" and protocol == "websocket" and has(culprit.message.kind)',
  );
  expect(messageScope({ ...session, culprit: { http: { stream_id: 7 } } })!["where"]).toContain("stream_id == 7");
  expect(messageScope({ network: {} })).toBeUndefined();
});

const query: Doc = {
  event: { outcome: "success" },
  network: { protocol: "mysql" },
  server: { ip: "10.0.0.5", port: 3306, bytes: 512 },
  db: {
    system: { name: "mysql" },
    operation: { name: "SELECT" },
    query: { text: "SELECT *\n\tFROM t" },
    response: { returned_rows: 1 },
  },
};

test("statements are on one line, with their rows and codes", () => {
  expect([kindOf(query), methodOf(query), targetOf(query), sizeWords(query), resultOf(query)?.name]).toEqual([
    "query",
    "SELECT",
    "SELECT * FROM t",
    "1 row",
    "ok",
  ]);
  expect(addressOf(query)).toBe("SELECT *\n\tFROM t");
  const login: Doc = { ...query, db: { system: { name: "mysql" }, operation: { name: "LOGIN" } } };
  expect([methodOf(login), targetOf(login), sizeWords(login)]).toEqual(["LOGIN", "10.0.0.5:3306", "512 B"]);
  const changed: Doc = { ...query, db: { system: { name: "mysql" }, response: { affected_rows: 3 } } };
  expect(sizeWords(changed)).toBe("3 rows");
  const failed: Doc = {
    ...query,
    event: { outcome: "failure" },
    error: { code: "1146" },
    culprit: { grade: "complete" },
  };
  expect(resultOf(failed)).toEqual({ name: "1146", class: "status-5" });
  // Nothing came back of what nobody answers.
  expect(resultOf({ ...query, event: { outcome: "unknown" } })).toBeUndefined();
});

test("lookups are by name and type, and an answer that there is none is no fault", () => {
  const lookup = (rcode: string, more: Doc = {}): Doc => ({
    event: { outcome: rcode === "NOERROR" ? "success" : "failure" },
    network: { protocol: "mdns" },
    server: { bytes: 90 },
    dns: { question: { name: "db.example", type: "AAAA" }, response_code: rcode, ...more },
  });
  const found = lookup("NOERROR", { answers_count: 2 });
  expect([kindOf(found), methodOf(found), targetOf(found), sizeWords(found), resultOf(found)?.name]).toEqual([
    "lookup",
    "AAAA",
    "db.example",
    "2 records",
    "ok",
  ]);
  expect(resultOf(lookup("NXDOMAIN"))).toEqual({ name: "NXDOMAIN", class: "status-4" });
  expect(resultOf(lookup("SERVFAIL"))).toEqual({ name: "SERVFAIL", class: "status-5" });
  expect(methodOf(lookup("NOERROR", { op_code: "UPDATE" }))).toBe("UPDATE");
  expect(methodOf(lookup("NOERROR", { op_code: "QUERY" }))).toBe("AAAA");
});

test("the record of a flow is no exchange of its protocol", () => {
  const flow: Doc = {
    network: { protocol: "dns", transport: "udp", bytes: 77 },
    server: { ip: "2001:db8::1", port: 53 },
    flow: { final: false },
  };
  expect([kindOf(flow), methodOf(flow), targetOf(flow), sizeWords(flow), resultOf(flow)]).toEqual([
    "flow",
    "UDP",
    "[2001:db8::1]:53 DNS",
    "77 B",
    undefined,
  ]);
});
