// Verdicts: who made an exchange slow or fail, and whom the parts of its time are due to (docs/blame.md).

import { field, list, number, text } from "./doc";
import { phases, type Phase } from "./timing";
import type { Doc } from "./types";

export interface Party {
  /** As culprit.blame.who has it. */
  who: string;
  title: string;
  what: string;
  /** The name of its colour: one everywhere. */
  color: string;
}

/** Those that can be blamed, from the client to what is behind the server. */
export const parties: Party[] = [
  { who: "client", title: "client", what: "the program that asked", color: "--series-4" },
  {
    who: "client-network",
    title: "client-side network",
    what: "the network between the client and the tap",
    color: "--series-7",
  },
  {
    who: "server-network",
    title: "server-side network",
    what: "the network between the tap and the server",
    color: "--series-1",
  },
  { who: "server", title: "server", what: "the program that answered", color: "--series-2" },
  { who: "proxy", title: "proxy", what: "what passed the request on", color: "--series-3" },
  { who: "upstream", title: "upstream", what: "whom the server asked in its turn", color: "--series-6" },
  { who: "dns", title: "DNS", what: "who looked the name up", color: "--series-8" },
  {
    who: "protocol",
    title: "protocol",
    what: "how both ends speak to each other, and neither of them alone",
    color: "--series-5",
  },
  { who: "unclear", title: "unclear", what: "the evidence doesn't carry a verdict", color: "--idle" },
];

const byWho = new Map(parties.map((p) => [p.who, p]));

/** partyOf finds a party; what this page doesn't know yet is called what it is. */
export function partyOf(who: string): Party {
  return byWho.get(who) ?? { who, title: who, what: "", color: "--idle" };
}

/** Chooses exchanges of which somebody is to blame for some time, or for a failure. */
export const blamed = 'has(blame) and blame not in ["none", "unclear"]';

/** Names that aren't only words with hyphens between. */
const situations: Record<string, string> = {
  "syn-lost": "SYN lost",
  "slow-tls": "slow TLS handshake",
  "slow-dns": "slow DNS",
  "delayed-ack": "delayed ACK",
  "mtu-black-hole": "MTU black hole",
  "keep-alive-race": "keep-alive race",
  "loss-client-side": "loss on the client's side",
  "loss-server-side": "loss on the server's side",
  "head-of-line": "head-of-line blocking",
  "client-gave-up": "client gave up",
  pipelined: "pipelined behind another",
};

/** situationOf names a situation for people. */
export function situationOf(name: string): string {
  return situations[name] ?? name.replaceAll("-", " ");
}

export interface Verdict {
  who: string;
  party: Party;
  situation: string;
  /** Nanoseconds, and of the whole from 0 to 1; undefined where something failed. */
  time?: number;
  share?: number;
  confidence?: number;
  upstream: string;
  why: string;
  evidence: string[];
}

/** verdictOf reads the verdict on an exchange; undefined: nobody has judged it. */
export function verdictOf(doc: Doc): Verdict | undefined {
  const who = text(doc, "culprit.blame.who");
  if (!who) return undefined;
  return {
    who,
    party: partyOf(who),
    situation: text(doc, "culprit.blame.situation"),
    time: number(doc, "culprit.blame.time"),
    share: number(doc, "culprit.blame.share"),
    confidence: number(doc, "culprit.blame.confidence"),
    upstream: text(doc, "culprit.blame.upstream"),
    why: text(doc, "culprit.blame.why"),
    evidence: list(doc, "culprit.blame.evidence"),
  };
}

/** whyOf is what the verdict says beside its evidence; "": that says it all. */
export function whyOf(v: { who: string; why: string; evidence: string[] }): string {
  const said = v.evidence[0];
  return said !== undefined && (v.why === said || v.why === `${v.who}: ${said}`) ? "" : v.why;
}

/** Piece is a part of a sentence: words, or the number of a packet. */
export interface Piece {
  words: string;
  packet?: number;
}

/** Numbers of packets as sentences have them: packet 81, packets 81–97, packets 81 and 97. */
const mention = /\bpackets? (\d{1,15}(?!\d|\.\d)(?:(?:\s?[–-]\s?|, | and | to )\d{1,15}(?!\d|\.\d))*)/g;

/** pieces takes a sentence apart at the packets that it names. */
export function pieces(sentence: string): Piece[] {
  const out: Piece[] = [];
  const words = (from: number, to: number) => {
    if (to > from) out.push({ words: sentence.slice(from, to) });
  };
  let at = 0;
  for (const found of sentence.matchAll(mention)) {
    const begin = found.index + found[0].length - found[1]!.length;
    for (const n of found[1]!.matchAll(/\d+/g)) {
      words(at, begin + n.index);
      out.push({ words: n[0], packet: Number(n[0]) });
      at = begin + n.index + n[0].length;
    }
  }
  words(at, sentence.length);
  return out;
}

/** What packets a verdict rests on, with the sentences that name them. */
export function packetsOf(v: Verdict | undefined): { packet: number; said: string[] }[] {
  const all = new Map<number, string[]>();
  for (const sentence of v ? [whyOf(v), ...v.evidence] : []) {
    for (const p of pieces(sentence)) {
      if (p.packet === undefined) continue;
      const said = all.get(p.packet) ?? [];
      if (!said.includes(sentence)) said.push(sentence);
      all.set(p.packet, said);
    }
  }
  return [...all].sort(([a], [b]) => a - b).map(([packet, said]) => ({ packet, said }));
}

/** Those among whom time is split: who has it on the bar, and by what it is known there. */
export const causes = [
  { name: "client", title: "client", mark: "outline" },
  { name: "client_network", title: "client-side network", mark: "hatch" },
  { name: "server_network", title: "server-side network", mark: "hatch" },
  { name: "server", title: "server", mark: "" },
] as const;
export type Cause = (typeof causes)[number]["name"];

/** splitFields are the fields of the split, all phases and causes. */
export const splitPhases = ["connect", "send", "wait", "receive"] as const;

export interface Share {
  cause: (typeof causes)[number];
  /** Nanoseconds, and from the beginning of the phase. */
  ns: number;
  at: number;
}

/** splitOf says whom a phase is due to, in the order of the way from the client to the server; none: it isn't known. */
export function splitOf(doc: Doc, phase: Phase["name"]): Share[] {
  let at = 0;
  return causes.flatMap((cause) => {
    const ns = number(doc, `culprit.split.${phase}.${cause.name}`) ?? 0;
    if (ns <= 0) return [];
    at += ns;
    return [{ cause, ns, at: at - ns }];
  });
}

/** splitSums adds up all phases, for whom the whole is due to. */
export function splitSums(doc: Doc): Record<Cause, number> {
  const out: Record<Cause, number> = { client: 0, client_network: 0, server_network: 0, server: 0 };
  for (const p of phases) for (const s of splitOf(doc, p.name)) out[s.cause.name] += s.ns;
  return out;
}

/** isSplit says that something is known of whom the time is due to. */
export function isSplit(doc: Doc): boolean {
  return field(doc, "culprit.split") !== undefined;
}
