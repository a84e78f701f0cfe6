// The messages of a WebSocket that are stored as records of their own.

import type { Params } from "./api";
import { connectionWhere } from "./connection";
import { number, text } from "./doc";
import { and } from "./expr";
import { kindFields, kindOf } from "./kind";
import { nanos, stampOf } from "./rows";
import type { Doc } from "./types";

/** How many are shown at once. */
export const mostMessages = 200;
/** How far from a message others of its session are looked for, in nanoseconds. */
const window = 24n * 3600n * 1_000_000_000n;

/** messageScope is the search that finds the messages of a session, or those beside one of its messages. */
export function messageScope(doc: Doc): Params | undefined {
  const connection = connectionWhere(doc);
  const at = text(doc, "@timestamp");
  if (!connection || !at) return undefined;
  const stream = number(doc, "culprit.http.stream_id");
  const where = and(
    and(connection, 'protocol == "websocket" and has(culprit.message.kind)'),
    stream === undefined ? "" : `stream_id == ${stream}`,
  );
  const begin = nanos(at);
  const session = kindOf(doc) === "session";
  const end = text(doc, "event.end");
  const from = session ? begin : begin > window ? begin - window : 1n;
  return {
    where,
    from: stampOf(from),
    to: stampOf((session && end ? nanos(end) : begin + window) + 1n),
    limit: mostMessages,
    ascending: true,
    fields: [
      ...kindFields,
      "@timestamp",
      "event.id",
      "culprit.grade",
      "culprit.message.index",
      "http.request.body.bytes",
      "http.request.body.content",
      "http.response.body.bytes",
      "http.response.body.content",
    ].join(","),
  };
}
