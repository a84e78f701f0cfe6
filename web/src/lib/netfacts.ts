// What the network did while an exchange lasted: culprit.net in words.

import { number, text } from "./doc";
import { bytes, count, duration } from "./format";
import type { Doc } from "./types";

/** Fact is one line of the table: what, and how it is at either side. */
export interface Fact {
  what: string;
  /** What it means, for those who ask. */
  why: string;
  client: Side;
  server: Side;
}

export interface Side {
  text: string;
  /** Why it is unusual; "" when it isn't. */
  unusual: string;
  /** The field, and its value, to filter by. */
  field: string;
  value?: number;
}

interface Row {
  what: string;
  why: string;
  client: string;
  server: string;
  write: (n: number) => string;
  /** Absent is none: counters are left out when they are zero. */
  zero?: boolean;
  unusual?: (n: number, packets: number) => string;
}

/** A round trip of this many nanoseconds is far away, or a crowded way. */
const far = 200e6;
/** A segment smaller than this means a tunnel, or a wrong setting. */
const smallSegment = 1200;

const some = (words: (n: string, part: string) => string) => (n: number, packets: number) =>
  n > 0 ? words(count(n), packets > 0 ? ` of ${count(packets)} packets` : "") : "";

const rows: Row[] = [
  {
    what: "Round trip of the handshake",
    why: "client: SYN+ACK to ACK; server: SYN to SYN+ACK; each from the tap and back",
    client: "culprit.net.handshake.client_rtt",
    server: "culprit.net.handshake.server_rtt",
    write: duration,
    unusual: (n) => (n > far ? `${duration(n)} is a long way` : ""),
  },
  {
    what: "Smoothed round trip",
    why: "from the tap to that side and back, since the connection began",
    client: "culprit.net.client.rtt",
    server: "culprit.net.server.rtt",
    write: duration,
    unusual: (n) => (n > far ? `${duration(n)} is a long way` : ""),
  },
  {
    what: "Packets sent",
    why: "while the exchange lasted",
    client: "culprit.net.client.packets",
    server: "culprit.net.server.packets",
    write: count,
  },
  {
    what: "Segments sent again",
    why: "retransmissions: lost on the way, or acknowledged too late",
    client: "culprit.net.client.retransmits",
    server: "culprit.net.server.retransmits",
    write: count,
    zero: true,
    unusual: some((n, of) => `${n}${of} sent again`),
  },
  {
    what: "Out of order",
    why: "segments that came behind later ones",
    client: "culprit.net.client.out_of_order",
    server: "culprit.net.server.out_of_order",
    write: count,
    zero: true,
    unusual: some((n) => `${n} out of order`),
  },
  {
    what: "Duplicate ACKs sent",
    why: "this side saw that something was missing",
    client: "culprit.net.client.duplicate_acks",
    server: "culprit.net.server.duplicate_acks",
    write: count,
    zero: true,
    unusual: some((n) => `something was missing ${n} times`),
  },
  {
    what: "Window closed",
    why: "times this side had no room for more: it reads more slowly than the other sends",
    client: "culprit.net.client.zero_windows",
    server: "culprit.net.server.zero_windows",
    write: count,
    zero: true,
    unusual: some((n) => `it read too slowly ${n} times`),
  },
  {
    what: "Largest segment offered",
    why: "maximum segment size (MSS)",
    client: "culprit.net.client.mss",
    server: "culprit.net.server.mss",
    write: bytes,
    unusual: (n) => (n < smallSegment ? `${bytes(n)} is small` : ""),
  },
];

/** netFacts lists what is known of the network at either side. What isn't known of either is left out. */
export function netFacts(doc: Doc): Fact[] {
  const seen =
    number(doc, "culprit.net.client.packets") !== undefined || number(doc, "culprit.net.server.packets") !== undefined;
  return rows.flatMap((r) => {
    const side = (who: "client" | "server"): Side => {
      const value = number(doc, r[who]);
      const n = value ?? (r.zero && seen ? 0 : undefined);
      if (n === undefined) return { text: "–", unusual: "", field: r[who] };
      const packets = number(doc, `culprit.net.${who}.packets`) ?? 0;
      return { text: r.write(n), unusual: r.unusual?.(n, packets) ?? "", field: r[who], value };
    };
    const [client, server] = [side("client"), side("server")];
    return client.value === undefined && server.value === undefined
      ? []
      : [{ what: r.what, why: r.why, client, server }];
  });
}

const ways: Record<string, string> = {
  fin: "closed it in order (FIN)",
  rst: "reset it (RST)",
  timeout: "it was silent for too long to be followed",
  replaced: "another connection took over its ports",
  evicted: "it was forgotten for lack of memory",
  "capture-ended": "the capture ended",
};

/** closing says how the connection ended, or undefined when it went on. */
export function closing(doc: Doc): { words: string; unusual: boolean } | undefined {
  const how = text(doc, "culprit.net.closed.how");
  if (!how) return undefined;
  const by = text(doc, "culprit.net.closed.by");
  const words = ways[how] ?? how;
  return { words: by ? `the ${by} ${words}` : words, unusual: how === "rst" };
}

/** SYNs beyond the first, in words; "" when one was enough. */
export function synsAgain(doc: Doc): string {
  const n = number(doc, "culprit.net.handshake.syns");
  return n !== undefined && n > 1 ? `${count(n)} SYNs until one was answered` : "";
}
