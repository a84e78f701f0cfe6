import { expect, test } from "@playwright/test";
import { ordered } from "../../src/lib/headers";
import { addressOf, errorOf, kindOf, methodOf, sizeOf, targetOf } from "../../src/lib/kind";
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
