// What the exchanges of a connection say of its network, in words.

import { causes, situationOf, splitSums, type Cause } from "./blame";
import { id, number, text } from "./doc";
import { count, duration, percent, plural } from "./format";
import { closing } from "./netfacts";
import type { Doc } from "./types";

const sides = ["client", "server"] as const;
const ofSide = ["rtt", "packets", "retransmits", "out_of_order", "duplicate_acks", "zero_windows", "mss"] as const;
const phases = ["connect", "send", "wait", "receive"] as const;

/** What a diagnosis is made of. */
export const diagnosisFields = [
  ...["@timestamp", "event.id", "event.duration", "client.ip", "client.port", "server.ip", "server.port"],
  ...["culprit.packets.tap", "culprit.http.connection_index", "culprit.timing.connect"],
  ...sides.flatMap((side) => ofSide.map((f) => `culprit.net.${side}.${f}`)),
  ...["client_rtt", "server_rtt", "syns"].map((f) => `culprit.net.handshake.${f}`),
  ...["closed.by", "closed.how", "error.name", "error.from", "error.count"].map((f) => `culprit.net.${f}`),
  ...phases.flatMap((p) => causes.map((c) => `culprit.split.${p}.${c.name}`)),
  ...["who", "situation", "time", "share", "confidence", "upstream", "why", "evidence"].map(
    (f) => `culprit.blame.${f}`,
  ),
].join();

export interface Finding {
  title: string;
  words: string;
  /** It isn't as it should be. */
  odd: boolean;
}

export interface Diagnosis {
  tap: string;
  exchanges: number;
  findings: Finding[];
  /** Whom the time of its exchanges is due to, the largest part first; none: it isn't known. */
  due: { name: Cause; title: string; ns: number; share: number }[];
  /** What the verdicts on its exchanges say. */
  situations: { who: string; situation: string; count: number; time: number }[];
  /** The exchanges with a verdict, the most time lost first. */
  worst: Doc[];
}

/** A round trip to one side that is this many times that to the other says where the tap is. */
const nearer = 4;

/** diagnoses are those of a connection at each tap that saw it. docs are its exchanges, in any order. */
export function diagnoses(docs: Doc[]): Diagnosis[] {
  const byTap = new Map<string, Doc[]>();
  for (const d of docs) {
    const tap = text(d, "culprit.packets.tap");
    byTap.set(tap, [...(byTap.get(tap) ?? []), d]);
  }
  return [...byTap].sort(([a], [b]) => (a < b ? -1 : 1)).map(([tap, all]) => diagnosisOf(tap, all));
}

function diagnosisOf(tap: string, all: Doc[]): Diagnosis {
  const docs = all.toSorted((a, b) => (text(a, "@timestamp") < text(b, "@timestamp") ? -1 : 1));
  const sums = { client: 0, client_network: 0, server_network: 0, server: 0 };
  for (const d of docs) for (const [name, ns] of Object.entries(splitSums(d))) sums[name as Cause] += ns;
  const whole = Object.values(sums).reduce((n, ns) => n + ns, 0);
  const situations = new Map<string, Diagnosis["situations"][number]>();
  const worst = docs.filter((d) => !["", "none"].includes(text(d, "culprit.blame.who")));
  for (const d of worst) {
    const [who, situation] = [text(d, "culprit.blame.who"), text(d, "culprit.blame.situation")];
    const key = JSON.stringify([who, situation]);
    const s = situations.get(key) ?? { who, situation, count: 0, time: 0 };
    situations.set(key, { ...s, count: s.count + 1, time: s.time + (number(d, "culprit.blame.time") ?? 0) });
  }
  const lost = (d: Doc) => number(d, "culprit.blame.time") ?? 0;
  return {
    tap,
    exchanges: docs.length,
    findings: [opened, wayTo("client"), wayTo("server"), again, order, windows, segments, errors, ended].flatMap(
      (of) => of(docs) ?? [],
    ),
    due: causes
      .filter((c) => sums[c.name] > 0)
      .map((c) => ({ name: c.name, title: c.title, ns: sums[c.name], share: sums[c.name] / whole }))
      .sort((a, b) => b.ns - a.ns),
    situations: [...situations.values()].sort((a, b) => b.time - a.time || b.count - a.count),
    worst: worst.sort((a, b) => lost(b) - lost(a) || (id(a) < id(b) ? -1 : 1)),
  };
}

const last = (docs: Doc[], name: string) => docs.reduce<number | undefined>((n, d) => number(d, name) ?? n, undefined);
const sum = (docs: Doc[], name: string) => docs.reduce((n, d) => n + (number(d, name) ?? 0), 0);
const known = (docs: Doc[], name: string) => docs.some((d) => number(d, name) !== undefined);

function opened(docs: Doc[]): Finding | undefined {
  const took = last(docs, "culprit.timing.connect");
  const syns = last(docs, "culprit.net.handshake.syns") ?? 1;
  if (took === undefined && syns < 2) return undefined;
  return {
    title: "Opened",
    words: `${took === undefined ? "" : `in ${duration(took)}, `}with ${plural(syns, "SYN")}${syns > 1 ? ": those before the last weren't answered in time" : ""}`,
    odd: syns > 1,
  };
}

function wayTo(side: (typeof sides)[number]): (docs: Doc[]) => Finding | undefined {
  return (docs) => {
    const rtt = (s: string) => last(docs, `culprit.net.handshake.${s}_rtt`) ?? last(docs, `culprit.net.${s}.rtt`);
    const [first, since] = [last(docs, `culprit.net.handshake.${side}_rtt`), last(docs, `culprit.net.${side}.rtt`)];
    if (first === undefined && since === undefined) return undefined;
    const [here, there] = [rtt(side), rtt(side === "client" ? "server" : "client")];
    const near = here !== undefined && there !== undefined && here * nearer < there;
    return {
      title: `Way to the ${side}`,
      words:
        [
          first !== undefined && `${duration(first)} there and back in the handshake`,
          since !== undefined && `${duration(since)} on average at the end`,
        ]
          .filter(Boolean)
          .join(", ") + (near ? `: the tap is nearer to the ${side}` : ""),
      odd: false,
    };
  };
}

function again(docs: Doc[]): Finding | undefined {
  if (!sides.some((s) => known(docs, `culprit.net.${s}.packets`))) return undefined;
  const parts = sides.map((side) => {
    const [n, of] = [sum(docs, `culprit.net.${side}.retransmits`), sum(docs, `culprit.net.${side}.packets`)];
    return {
      n,
      words: `the ${side} ${n === 0 ? "nothing" : `${count(n)} of ${plural(of, "packet")} (${percent(n / of)})`}`,
    };
  });
  const n = parts.reduce((all, p) => all + p.n, 0);
  return {
    title: "Sent again",
    words: n === 0 ? "nothing, by neither side" : parts.map((p) => p.words).join(", "),
    odd: n > 0,
  };
}

function order(docs: Doc[]): Finding | undefined {
  const parts = sides.flatMap((side) => {
    const n = sum(docs, `culprit.net.${side}.out_of_order`);
    const dup = sum(docs, `culprit.net.${side}.duplicate_acks`);
    return [
      ...(n > 0 ? [`${plural(n, "segment")} of the ${side} came late`] : []),
      ...(dup > 0 ? [`the ${side} missed something ${plural(dup, "time")} (duplicate ACKs)`] : []),
    ];
  });
  return parts.length > 0 ? { title: "Order", words: parts.join(", "), odd: true } : undefined;
}

function windows(docs: Doc[]): Finding | undefined {
  if (!sides.some((s) => known(docs, `culprit.net.${s}.packets`))) return undefined;
  const parts = sides.flatMap((side) => {
    const n = sum(docs, `culprit.net.${side}.zero_windows`);
    return n > 0 ? [`the ${side} closed its own ${plural(n, "time")}: it read more slowly than it was sent to`] : [];
  });
  return { title: "Windows", words: parts.join(", ") || "never closed", odd: parts.length > 0 };
}

function segments(docs: Doc[]): Finding | undefined {
  const [client, server] = sides.map((s) => last(docs, `culprit.net.${s}.mss`));
  if (client === undefined && server === undefined) return undefined;
  const words =
    client === server
      ? `${count(client)} bytes at most, as both sides offered`
      : [
          client !== undefined && `${count(client)} bytes to the client`,
          server !== undefined && `${count(server)} to the server`,
        ]
          .filter(Boolean)
          .join(", ") + " at most";
  return { title: "Segments", words, odd: Math.min(client ?? Infinity, server ?? Infinity) < 1200 };
}

function errors(docs: Doc[]): Finding | undefined {
  const d = docs.findLast((x) => text(x, "culprit.net.error.name"));
  if (!d) return undefined;
  const from = text(d, "culprit.net.error.from");
  return {
    title: "ICMP errors",
    words: `${plural(number(d, "culprit.net.error.count") ?? 1, "error")}, the last: ${text(d, "culprit.net.error.name")}${from ? ` from ${from}` : ""}`,
    odd: true,
  };
}

function ended(docs: Doc[]): Finding | undefined {
  const d = docs.findLast((x) => text(x, "culprit.net.closed.how"));
  const end = d && closing(d);
  return end && { title: "Ended", words: end.words, odd: end.unusual };
}

/** limits says in a sentence whom the time was due to. */
export function limits(d: Diagnosis): string {
  const [first, ...rest] = d.due;
  if (!first) return "Whom its time is due to isn't known.";
  const most = first.share >= 0.5 ? "Most of its time is due to" : "The largest part of its time is due to";
  const others = rest.map((r) => `${r.title} ${duration(r.ns)}`).join(", ");
  return `${most} the ${first.title}: ${duration(first.ns)}, ${percent(first.share)}${others ? `; ${others}` : ""}.`;
}

/** situationWords says what the verdicts found: "loss on the client's side: 3 exchanges, 1.20 s lost". */
export function situationWords(s: Diagnosis["situations"][number]): string {
  const lost = s.time > 0 ? `, ${duration(s.time)} lost` : "";
  return `${situationOf(s.situation) || "no known situation"}: ${plural(s.count, "exchange")}${lost}`;
}
