// The chains that requests of a route took, of the tree of hops that the API gives.

import type { RoutedAs, RouteStep } from "../../lib/types";

export interface Chain {
  /** From the one that the client asked to the last. */
  hops: RouteStep[];
  last: RouteStep;
  /** Requests that took it. */
  requests: number;
}

/** chainsOf are the chains of a route, those that most requests took first. */
export function chainsOf(route: RoutedAs): Chain[] {
  const out: Chain[] = [];
  const path: RouteStep[] = [];
  for (const step of route.steps) {
    path.length = step.depth;
    path.push(step);
    if (step.ended > 0) out.push({ hops: [...path], last: step, requests: step.ended });
  }
  return out.sort((a, b) => b.requests - a.requests);
}
