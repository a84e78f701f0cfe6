// The tree of what one request caused, as rows of a waterfall.

import { percent } from "./format";
import type { HopMethod, TraceAnswer, TraceNode } from "./types";

/** Below this, how a hop was linked to the one before is said to be unsure. */
export const sure = 0.9;

export interface Row {
  node: TraceNode;
  parent?: Row;
  /** Where it has something of its own to do: nanoseconds from the start of the root. */
  own: [from: number, to: number][];
  culprit: boolean;
  unsure: boolean;
}

/** rowsOf lays out a tree. */
export function rowsOf(trace: TraceAnswer): Row[] {
  const rows = new Map<string, Row>();
  const children = new Map<string, TraceNode[]>();
  for (const n of trace.nodes) if (n.parent) children.set(n.parent, [...(children.get(n.parent) ?? []), n]);
  for (const n of trace.nodes) {
    rows.set(n.id, {
      node: n,
      parent: n.parent ? rows.get(n.parent) : undefined,
      own: without([n.offset, n.offset + n.duration], children.get(n.id) ?? []),
      culprit: n.id === trace.culprit,
      unsure: n.method !== "root" && n.confidence < sure,
    });
  }
  return [...rows.values()];
}

/** without is what is left of a time when that of others is taken out. */
function without([from, to]: [number, number], others: TraceNode[]): [number, number][] {
  const out: [number, number][] = [];
  let at = from;
  for (const n of others.toSorted((a, b) => a.offset - b.offset)) {
    if (n.offset >= to) break;
    if (n.offset > at) out.push([at, n.offset]);
    at = Math.max(at, n.offset + n.duration);
  }
  if (at < to) out.push([at, to]);
  return out;
}

/** boundsOf is from when to when the tree lasts, in nanoseconds from the start of its root: a lookup may come before it. */
export function boundsOf(rows: Row[]): { from: number; to: number } {
  const from = rows.reduce((n, r) => Math.min(n, r.node.offset), 0);
  return { from, to: rows.reduce((n, r) => Math.max(n, r.node.offset + r.node.duration), from + 1) };
}

/** whoServes names who answered a hop: its service, program or host where that is known, else its address. */
export function whoServes(n: TraceNode): string {
  // What was asked for as a number is better known with its port.
  const host = n.protocol.startsWith("http") && !/^\[?[\d.:a-f]*\]?(:\d+)?$/.test(n.host) ? n.host : "";
  return n.service || n.process || host || n.server;
}

/** whatOf is what was asked for: a route is shorter than the path, and tells what it is for. */
export function whatOf(n: TraceNode): string {
  const what = n.route || n.target;
  return what.toUpperCase().startsWith(n.verb.toUpperCase()) ? what : `${n.verb} ${what}`.trim();
}

const ways: Record<HopMethod, string> = {
  root: "",
  id: "by an id that it carries",
  header: "by a header of the proxy",
  process: "by the process",
  content: "by what it asks for",
  timing: "by timing",
};

const roles: Record<TraceNode["role"], string> = {
  call: "",
  lookup: "looked up before it was connected to",
  retry: "again, after the one before failed",
  redirect: "where the one before led to",
};

/** remarks say how a hop belongs to the one before, and what is special about it. */
export function remarks(row: Row): string[] {
  const n = row.node;
  const way = ways[n.method] ?? n.method;
  return [
    way && (row.unsure ? `linked ${way}: ${percent(n.confidence)} sure` : `linked ${way}`),
    roles[n.role] ?? n.role,
    n.async && "began after the answer to what caused it had ended",
  ].filter((words): words is string => !!words);
}

/** scaleTicks are some round times up to a length, in nanoseconds. */
export function scaleTicks(ns: number, most = 6): number[] {
  const step = 10 ** Math.floor(Math.log10(ns / 2));
  const by = [1, 2, 5].map((f) => f * step).find((s) => ns / s <= most) ?? step * 10;
  return Array.from({ length: Math.floor(ns / by) + 1 }, (_, i) => i * by);
}
