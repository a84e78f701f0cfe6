// The phases of the time of an exchange: docs/timing.md.

import { number } from "./doc";
import type { Doc } from "./types";

export interface Phase {
  name: "idle" | "connect" | "tls" | "send" | "wait" | "receive";
  title: string;
  what: string;
}

/** phases are all, in their order, with the name of their colour: --wait. */
export const phases: Phase[] = [
  { name: "connect", title: "Connect", what: "first SYN to the handshake's ACK" },
  { name: "tls", title: "TLS", what: "ClientHello to Finished" },
  { name: "idle", title: "Idle", what: "connection ready to first request byte" },
  { name: "send", title: "Send", what: "first to last request byte" },
  { name: "wait", title: "Wait", what: "end of the request to the first byte of the response" },
  { name: "receive", title: "Receive", what: "first to last byte of the response" },
];

export interface Part extends Phase {
  /** Nanoseconds, and from the beginning of the first part. */
  ns: number;
  at: number;
}

/** parts are the phases that an exchange had, one after the other. In the idle one nobody waited. */
export function parts(doc: Doc): Part[] {
  let at = 0;
  const out: Part[] = [];
  for (const p of phases) {
    const ns = number(doc, `culprit.timing.${p.name}`);
    if (ns === undefined) continue;
    out.push({ ...p, ns, at });
    at += ns;
  }
  return out;
}
