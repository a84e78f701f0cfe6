// The exchanges of one connection.

import { and, clause } from "./expr";
import { id, number, text } from "./doc";
import { nanos, stampOf } from "./rows";
import type { Params } from "./api";
import type { Doc, Field } from "./types";

/** How far from an exchange others of its connection are looked for, in nanoseconds. */
const window = 24n * 3600n * 1_000_000_000n;
/** How many are shown before it, and behind. */
export const connectionRows = 50;

const of = (filter: string): Pick<Field, "kind" | "filter"> => ({ kind: "text", filter });

/** connectionWhere is the filter for an exchange's connection; its ports may have been used by others at other times. */
export function connectionWhere(doc: Doc): string | undefined {
  const community = text(doc, "network.community_id");
  if (!community) return undefined;
  const tap = text(doc, "culprit.packets.tap");
  const where = clause(of("network.community_id"), community);
  return tap ? and(where, clause(of("culprit.packets.tap"), tap)) : where;
}

/** connectionScopes are the two searches that find them: those before, the last first, and the exchange and those behind. */
export function connectionScopes(doc: Doc): { before: Params; behind: Params } | undefined {
  const where = connectionWhere(doc);
  const at = text(doc, "@timestamp");
  if (!where || !at) return undefined;
  const ns = nanos(at);
  const from = ns > window ? ns - window : 1n;
  return {
    before: { where, from: stampOf(from), to: stampOf(ns), limit: connectionRows },
    behind: { where, from: stampOf(ns), to: stampOf(ns + window), limit: connectionRows, ascending: true },
  };
}

/** sameConnection keeps those that are of one connection with an exchange: their numbers on it go up. */
export function sameConnection(doc: Doc, others: Doc[]): Doc[] {
  const index = (d: Doc) => number(d, "culprit.http.connection_index") ?? 0;
  // What was answered about the exchange before may still be among them.
  const where = connectionWhere(doc);
  const same = others.filter((d) => connectionWhere(d) === where);
  const all = new Map([...same, doc].map((d) => [id(d), d] as const));
  const sorted = [...all.values()].sort((a, b) => {
    const [x, y] = [text(a, "@timestamp"), text(b, "@timestamp")];
    return x < y ? -1 : x > y ? 1 : index(a) - index(b);
  });
  const at = sorted.findIndex((d) => id(d) === id(doc));
  let from = at;
  while (from > 0 && index(sorted[from - 1]!) < index(sorted[from]!)) from--;
  let to = at;
  while (to + 1 < sorted.length && index(sorted[to + 1]!) > index(sorted[to]!)) to++;
  return sorted.slice(from, to + 1);
}

/** displayFilter is what Wireshark shows the packets of an exchange by; within: those of its time alone. */
export function displayFilter(doc: Doc, within: boolean): string {
  const [client, server] = [text(doc, "client.ip"), text(doc, "server.ip")];
  const [clientPort, serverPort] = [number(doc, "client.port"), number(doc, "server.port")];
  const transport = text(doc, "network.transport") || "tcp";
  const parts: string[] = [];
  for (const ip of new Set([client, server])) {
    if (/^[0-9a-fA-F:.]+$/.test(ip)) parts.push(`${ip.includes(":") ? "ipv6" : "ip"}.addr == ${ip}`);
  }
  if (/^(tcp|udp|sctp)$/.test(transport)) {
    for (const port of new Set([clientPort, serverPort]))
      if (port !== undefined) parts.push(`${transport}.port == ${port}`);
  }
  if (within) {
    const [first, last] = [number(doc, "culprit.packets.first"), number(doc, "culprit.packets.last")];
    if (first !== undefined) parts.push(`frame.number >= ${first}`);
    if (last !== undefined) parts.push(`frame.number <= ${last}`);
  }
  return parts.join(" && ");
}
