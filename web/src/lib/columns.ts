// The columns of the list of exchanges.

import { kindFields } from "./kind";

/** ListColumn is a column that the list may have. */
export interface ListColumn {
  /** Its name in the address: a field's name or alias, or a word of its own. */
  key: string;
  title: string;
  what: string;
  /** What it needs of documents. */
  fields: string[];
  /** In pixels. */
  width: number;
  /** It takes the room that is left. */
  grows?: boolean;
  number?: boolean;
  /** The field that the list is sorted by, where that isn't the key. */
  sort?: string;
  /** It is shown unless others are chosen: 2, in narrow lists too. */
  usual?: 1 | 2;
}

const phases = ["idle", "connect", "tls", "send", "wait", "receive"].map((p) => `culprit.timing.${p}`);

/** What every list asks for: the pane, the marks of rows and live rows need it. */
export const always = [
  "@timestamp",
  "event.id",
  "event.duration",
  "http.response.status_code",
  "http.response.body.bytes",
  "culprit.grade",
  "error.message",
  ...kindFields,
];

/** listColumns are those with a look of their own, in their usual order; any other field is a column by its name. */
export const listColumns: ListColumn[] = [
  { key: "time", title: "Time", what: "first byte of the request", fields: ["@timestamp"], width: 100, usual: 2 },
  {
    key: "client",
    title: "Client",
    what: "who asks: the name, or the address and port",
    fields: ["client.ip", "client.port", "client.domain"],
    width: 156,
    usual: 1,
  },
  {
    key: "method",
    title: "Method",
    what: "method, as sent; verb of a statement, type of a lookup; TLS: a connection that wasn't read; WS: a WebSocket, and → or ←: one of its messages",
    fields: ["http.request.method"],
    width: 80,
    usual: 2,
  },
  {
    key: "target",
    title: "Host and target",
    what: "host that was asked for, and request target; statement or command; name that is looked up; of TLS the server's name",
    fields: ["url.domain", "url.original"],
    width: 220,
    grows: true,
    usual: 2,
  },
  {
    key: "status",
    title: "Status",
    what: "status code of the final response, and what else says that it failed: a status of gRPC, a reset, an alert, the code of a database or of DNS",
    fields: ["http.response.status_code", "error.code", "culprit.grpc.status_code"],
    width: 128,
    number: true,
    usual: 2,
  },
  {
    key: "size",
    title: "Size",
    what: "length of the response body, or of the message; rows, where a database answers, and records, where DNS does",
    fields: ["http.response.body.bytes", "http.request.body.bytes"],
    width: 76,
    number: true,
    usual: 1,
  },
  {
    key: "duration",
    title: "Duration",
    what: "first request byte to last response byte",
    fields: ["event.duration"],
    width: 92,
    number: true,
    usual: 2,
  },
  {
    key: "grade",
    title: "Not complete",
    what: "what is missing of exchanges that aren't complete, and why",
    fields: ["culprit.grade", "error.message"],
    width: 124,
    usual: 1,
  },
  {
    key: "waterfall",
    title: "Waterfall",
    what: "when each exchange was, and its phases, on one scale",
    fields: ["@timestamp", "event.duration", ...phases],
    width: 200,
    sort: "",
    usual: 1,
  },
];

/** Fields that are offered first, beside those above. */
export const offered = [
  "route",
  "vhost",
  "server",
  "service",
  "process",
  "container",
  "type",
  "browser",
  "os",
  "device",
  "country",
  "request_size",
  "connect",
  "send",
  "wait",
  "ttfb",
  "receive",
  "rtt",
  "retransmits",
  "tap",
  "version",
  "protocol",
  "sni",
  "tls.version",
  "cipher",
  "alpn",
  "ja4",
  "days_left",
  "alert",
  "undecryptable",
  "stream_id",
  "grpc_status",
  "operation",
  "db",
  "database",
  "verb",
  "template",
  "table",
  "rows",
  "first_row",
  "qname",
  "rcode",
  "resolved",
  "retries",
  "icmp",
  "true_client",
  "messages",
  "close_code",
  "error_code",
  "request_id",
  "trace",
  "secrets",
  "anomalies",
];

/** Widths in pixels that a column can be given. */
export const leastWidth = 40;
export const mostWidth = 1200;
/** Columns that can be chosen. */
export const mostColumns = 24;

/** Chosen is a column with the width that was chosen for it. */
export interface Chosen {
  key: string;
  width?: number;
}

/** chosen reads the parameter columns: time,method,target:400. */
export function chosen(parameter: string): Chosen[] {
  const all: Chosen[] = [];
  for (const part of parameter.split(",")) {
    const [, key, width] = part.match(/^([@\w.]+)(?::(\d{1,4}))?$/) ?? [];
    if (!key || all.some((c) => c.key === key) || all.length >= mostColumns) continue;
    all.push(width ? { key, width: Math.min(Math.max(Number(width), leastWidth), mostWidth) } : { key });
  }
  return all;
}

/** written is the parameter for columns. */
export function written(columns: Chosen[]): string {
  return columns.map((c) => (c.width ? `${c.key}:${c.width}` : c.key)).join(",");
}

/** usual are the columns that are shown unless others are chosen. */
export function usual(narrow: boolean): Chosen[] {
  return listColumns.filter((c) => (c.usual ?? 0) >= (narrow ? 2 : 1)).map(({ key }) => ({ key }));
}
