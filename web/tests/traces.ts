// Trees of hops for tests, of which only what matters is told.

import type { TraceAnswer, TraceNode } from "../src/lib/types";

export function node(n: Partial<TraceNode> = {}): TraceNode {
  return {
    ...{
      id: "x",
      parent: null,
      depth: 0,
      method: n.parent ? "id" : "root",
      confidence: 1,
      role: "call",
      earlier: null,
    },
    ...{ async: false, protocol: "http", verb: "GET", target: "/", route: "", host: "", status: 200, failed: false },
    ...{ grade: "complete", client: "10.0.0.7:40000", server: "10.0.0.2:80", service: "", process: "", tap: "" },
    ...{ start: "2026-11-09T10:00:00.000000000Z", offset: 0, duration: 10, self: 10 },
    ...{ seen: [], network: null, unseen: "", blame: null },
    ...n,
  } as TraceNode;
}

export function trace(nodes: TraceNode[], more: Partial<TraceAnswer> = {}): TraceAnswer {
  const at = nodes[0]?.start ?? "2026-11-09T10:00:00.000000000Z";
  return {
    ...{ id: nodes[0]?.id ?? "", root: nodes[0]?.id ?? "", culprit: null, nodes, left_out: 0, offsets: [] },
    ...{ from: at, to: at, looked_at: nodes.length, truncated: false },
    cost: { rows: 0, skipped: 0, stored: 0, bytes: 0, elapsed: 0 },
    ...more,
  };
}
