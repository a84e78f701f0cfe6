// What a record is about: most are requests with their responses, but not all.

import { field, number, statusClass, text } from "./doc";
import { bytes, plural } from "./format";
import type { Doc } from "./types";

/**
 * exchange: a request of HTTP, in any version and in other clothes. tls: a TLS connection of which nothing else is known.
 * session: all that was said on a WebSocket; message: one message of it. query: a statement or command, or what a database
 * or cache sends unasked. lookup: a question for a name. flow: the record of a flow.
 */
export type Kind = "exchange" | "tls" | "session" | "message" | "query" | "lookup" | "flow";

/** Chooses requests of HTTP: what is counted as such, in rates and percentiles. Of a WebSocket the request that opens it is one. */
export const requests = 'protocol in ["http", "http2", "fastcgi", "uwsgi"] and not has(flow.final)';
/** Chooses statements and commands, and questions for names. */
export const statements = "has(db.system.name)";
export const lookups = 'protocol in ["dns", "mdns", "llmnr"] and not has(flow.final)';

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
  "event.outcome",
  "network.transport",
  "network.bytes",
  "flow.final",
  "db.system.name",
  "db.namespace",
  "db.operation.name",
  "db.query.text",
  "db.query.summary",
  "db.response.returned_rows",
  "db.response.affected_rows",
  "dns.op_code",
  "dns.question.name",
  "dns.question.type",
  "dns.response_code",
  "dns.answers_count",
  "server.bytes",
  "error.code",
];

export function kindOf(doc: Doc): Kind {
  if (field(doc, "flow.final") !== undefined) return "flow";
  if (text(doc, "culprit.message.kind")) return "message";
  if (text(doc, "db.system.name")) return "query";
  switch (text(doc, "network.protocol")) {
    case "tls":
      return "tls";
    case "websocket":
      return "session";
    case "dns":
    case "mdns":
    case "llmnr":
      return "lookup";
  }
  return "exchange";
}

/** systemOf names what a flow or statement was spoken with, as people write it. */
export function systemOf(protocol: string): string {
  return names.get(protocol) ?? protocol;
}

const names = new Map(
  Object.entries({
    http: "HTTP",
    http2: "HTTP/2",
    fastcgi: "FastCGI",
    uwsgi: "uwsgi",
    websocket: "WebSocket",
    tls: "TLS",
    mysql: "MySQL",
    postgresql: "PostgreSQL",
    redis: "Redis",
    memcached: "memcached",
    mongodb: "MongoDB",
    dns: "DNS",
    mdns: "mDNS",
    llmnr: "LLMNR",
  }),
);

/** methodOf is what stands where requests have their method. */
export function methodOf(doc: Doc): string {
  switch (kindOf(doc)) {
    case "tls":
      return "TLS";
    case "session":
      return "WS";
    case "message":
      return `${text(doc, "culprit.message.from") === "server" ? "←" : "→"} ${text(doc, "culprit.message.kind")}`;
    case "query":
      return text(doc, "db.operation.name");
    case "lookup": {
      const op = text(doc, "dns.op_code");
      return op && op !== "QUERY" ? op : text(doc, "dns.question.type");
    }
    case "flow":
      return text(doc, "network.transport").toUpperCase();
  }
  return text(doc, "http.request.method");
}

/**
 * targetOf is the host with the target; of a TLS connection, the name that was asked for, and the port where it is another
 * than usual; the statement, on one line; the name that is looked up.
 */
export function targetOf(doc: Doc): string {
  switch (kindOf(doc)) {
    case "tls":
      return tlsServer(doc);
    case "query":
      // Logins and the like say nothing but to whom.
      return text(doc, "db.query.text").replace(/\s+/g, " ").trim() || serverOf(doc);
    case "lookup":
      return text(doc, "dns.question.name") || serverOf(doc);
    case "flow":
      return `${serverOf(doc)} ${systemOf(text(doc, "network.protocol"))}`;
  }
  const original = text(doc, "url.original");
  return (original.startsWith("/") || original === "*" ? text(doc, "url.domain") : "") + original;
}

/** serverOf is the server's name, or else its address, with its port. */
export function serverOf(doc: Doc): string {
  const ip = text(doc, "server.ip");
  const port = number(doc, "server.port");
  const name = text(doc, "server.domain") || (ip.includes(":") ? `[${ip}]` : ip);
  return port === undefined ? name : `${name}:${port}`;
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
  if (kind === "query") return text(doc, "db.query.text") || serverOf(doc);
  if (kind === "tls" || kind === "lookup" || kind === "flow") return targetOf(doc);
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

/** sizeWords is what came back: rows and records where there are such, else how many bytes. */
export function sizeWords(doc: Doc): string {
  switch (kindOf(doc)) {
    case "query": {
      const rows = number(doc, "db.response.returned_rows");
      const changed = number(doc, "db.response.affected_rows");
      if (rows !== undefined) return plural(rows, "row");
      return changed !== undefined ? plural(changed, "row") : bytes(number(doc, "server.bytes"));
    }
    case "lookup": {
      const answers = number(doc, "dns.answers_count");
      return answers === undefined ? bytes(number(doc, "server.bytes")) : plural(answers, "record");
    }
    case "flow":
      return bytes(number(doc, "network.bytes"));
  }
  return bytes(sizeOf(doc));
}

/** gRPC statuses that are the server's fault, by OpenTelemetry's conventions. */
const faults = new Set([2, 4, 12, 13, 14, 15]);

/**
 * errorOf is the name of what ended the stream or session, or of what gRPC answers beside the status, with the class of
 * its colour (app.css).
 */
export function errorOf(doc: Doc): { name: string; class: string } | undefined {
  if (kindOf(doc) === "lookup") {
    const rcode = text(doc, "dns.response_code");
    if (!rcode || rcode === "NOERROR") return undefined;
    return { name: rcode, class: rcode === "NXDOMAIN" ? "status-4" : "status-5" };
  }
  const name = text(doc, "error.code");
  if (!name) return undefined;
  const grpc = number(doc, "culprit.grpc.status_code");
  if (grpc) return { name, class: faults.has(grpc) ? "status-5" : "status-4" };
  return { name, class: text(doc, "culprit.grade") === "complete" ? "status-5" : "status-none" };
}

/** resultOf is what the status column says, with the class of its colour; undefined where nothing came back. */
export function resultOf(doc: Doc): { name: string; class: string } | undefined {
  const error = errorOf(doc);
  const status = number(doc, "http.response.status_code");
  if (error) return { name: status === undefined ? error.name : `${status} ${error.name}`, class: error.class };
  if (status !== undefined) return { name: String(status), class: statusClass(status) };
  const kind = kindOf(doc);
  const fine = (kind === "query" || kind === "lookup") && text(doc, "event.outcome") === "success";
  return fine ? { name: "ok", class: "status-2" } : undefined;
}
