// The scale of a list's waterfall: one for all rows that are seen.

import { micros } from "./format";
import { number, text } from "./doc";
import { parts, type Part } from "./timing";
import type { Doc } from "./types";

/** Scale says what the full width is. */
export interface Scale {
  /** Bars are where they were in time; else each begins at the left edge. */
  shared: boolean;
  /** Microseconds since 1970 of the left edge; 0 when each has its own. */
  from: number;
  /** What the full width is, in nanoseconds. */
  width: number;
}

/** Bar is a row of the waterfall: its parts, and where it begins, in nanoseconds from the left edge. */
export interface Bar {
  at: number;
  length: number;
  parts: Part[];
  /** It begins before the left edge, goes on behind the right edge. */
  early: boolean;
  cut: boolean;
}

/** begins is when the first part began, in microseconds since 1970: the connection is made before the first byte. */
function begins(doc: Doc): number {
  let before = 0;
  for (const p of ["connect", "tls", "idle"]) before += number(doc, `culprit.timing.${p}`) ?? 0;
  return micros(text(doc, "@timestamp")) - before / 1000;
}

function lengthOf(doc: Doc): number {
  return parts(doc).reduce((n, p) => n + p.ns, 0) || (number(doc, "event.duration") ?? 0);
}

/** The part of the rows whose ends the scale has room for: a few long ones would leave nothing to see of the others. */
const seen = 0.9;
/** When the beginnings of rows are this many times their length apart, a shared scale would show dots. */
const apart = 25;

/** scaleOf chooses the scale for rows. wish: they are asked to share one, or not to. */
export function scaleOf(docs: Doc[], wish?: boolean): Scale {
  const timed = docs.filter((d) => text(d, "@timestamp") !== "");
  if (timed.length === 0) return { shared: wish ?? true, from: 0, width: 1 };
  const lengths = timed.map(lengthOf).sort((a, b) => a - b);
  const usual = lengths[Math.ceil(lengths.length * seen) - 1]!;
  const firstBytes = timed.map((d) => micros(text(d, "@timestamp"))).sort((a, b) => a - b);
  const begun = timed.map(begins).sort((a, b) => a - b);
  // All first bytes are seen; of slow handshakes and long answers, those that aren't far out.
  const from = Math.min(firstBytes[0]!, begun[Math.floor(begun.length * (1 - seen))]!);
  const span = (firstBytes.at(-1)! - from) * 1000;
  const shared = wish ?? span <= apart * Math.max(usual, 1e6);
  if (!shared) return { shared, from: 0, width: Math.max(usual * 1.15, 1e3) };
  const ends = timed.map((d) => (begins(d) - from) * 1000 + lengthOf(d)).sort((a, b) => a - b);
  const end = ends[Math.ceil(ends.length * seen) - 1]!;
  return { shared, from, width: Math.max(Math.max(end, span) * 1.04, 1e3) };
}

/** barOf lays out a row. */
export function barOf(doc: Doc, scale: Scale): Bar {
  const all = parts(doc);
  const length = lengthOf(doc);
  const at = scale.shared ? (begins(doc) - scale.from) * 1000 : 0;
  return { at, length, parts: all, early: at < -1e3, cut: at + length > scale.width * 1.0001 };
}
