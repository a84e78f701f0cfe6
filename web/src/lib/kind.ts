// What a record is about: most are requests with their responses, but not all.

import { number, text } from "./doc";
import type { Doc } from "./types";

/** A TLS connection of which nothing else is known; all that was said on a WebSocket; one message of it. */
export type Kind = "exchange" | "tls" | "session" | "message";

/** Chooses requests: what is counted as such, in rates and percentiles. Of a WebSocket the request that opens it is one. */
export const requests = 'protocol not in ["tls", "websocket"]';

/** What the functions below read. */
export const kindFields = [
  "network.protocol",
  "http.request.method",
  "url.domain",
  "url.original",
  "server.ip",
  "server.port",
  "server.domain",
  "tls.client.server_name",
  "culprit.message.kind",
  "culprit.message.from",
];

export function kindOf(doc: Doc): Kind {
  if (text(doc, "culprit.message.kind")) return "message";
  switch (text(doc, "network.protocol")) {
    case "tls":
      return "tls";
    case "websocket":
      return "session";
  }
  return "exchange";
}

/** methodOf is what stands where requests have their method. */
export function methodOf(doc: Doc): string {
  switch (kindOf(doc)) {
    case "tls":
      return "TLS";
    case "session":
      return "WS";
    case "message":
      return `${text(doc, "culprit.message.from") === "server" ? "←" : "→"} ${text(doc, "culprit.message.kind")}`;
  }
  return text(doc, "http.request.method");
}

/** targetOf is the host with the target; of a TLS connection, the name that was asked for, and the port where it is another than usual. */
export function targetOf(doc: Doc): string {
  if (kindOf(doc) === "tls") return tlsServer(doc);
  const original = text(doc, "url.original");
  return (original.startsWith("/") || original === "*" ? text(doc, "url.domain") : "") + original;
}

function tlsServer(doc: Doc): string {
  const ip = text(doc, "server.ip");
  const name = text(doc, "tls.client.server_name") || text(doc, "server.domain") || (ip.includes(":") ? `[${ip}]` : ip);
  const port = number(doc, "server.port");
  return port === undefined || port === 443 ? name : `${name}:${port}`;
}

/** addressOf is the whole address of what was asked for. */
export function addressOf(doc: Doc): string {
  const kind = kindOf(doc);
  if (kind === "tls") return tlsServer(doc);
  const original = text(doc, "url.original");
  if (!original.startsWith("/") && original !== "*") return original;
  const scheme = text(doc, "url.scheme") || "http";
  const port = number(doc, "url.port");
  const host = text(doc, "url.domain") || text(doc, "server.ip");
  return `${kind === "exchange" ? scheme : scheme === "https" ? "wss" : "ws"}://${host.includes(":") ? `[${host}]` : host}${port ? `:${port}` : ""}${original}`;
}

/** sizeOf is the length of the body, or of the message. */
export function sizeOf(doc: Doc): number | undefined {
  const from = text(doc, "culprit.message.from");
  return number(doc, `http.${from === "client" ? "request" : "response"}.body.bytes`);
}

/** gRPC statuses that are the server's fault, by OpenTelemetry's conventions. */
const faults = new Set([2, 4, 12, 13, 14, 15]);

/**
 * errorOf is the name of what ended the stream or session, or of what gRPC answers beside the status, with the class of
 * its colour (app.css).
 */
export function errorOf(doc: Doc): { name: string; class: string } | undefined {
  const name = text(doc, "error.code");
  if (!name) return undefined;
  const grpc = number(doc, "culprit.grpc.status_code");
  if (grpc) return { name, class: faults.has(grpc) ? "status-5" : "status-4" };
  return { name, class: text(doc, "culprit.grade") === "complete" ? "status-5" : "status-none" };
}
