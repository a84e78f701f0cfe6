// How much of a time is stored: what counts are divided by.

import { micros } from "./format";
import type { Status } from "./types";

/**
 * storedSeconds is how long the part of a range is that is stored, which is what counts are divided by: without what is
 * before the first exchange, nor, where nothing is captured any more, what is after the last. Bounds are in milliseconds.
 */
export function storedSeconds(
  { from, to }: { from: number; to: number },
  store: Status["store"] | undefined,
  capturing: boolean,
): number {
  const first = store?.first ? micros(store.first) / 1000 : from;
  const last = store?.last && !capturing ? micros(store.last) / 1000 : to;
  return Math.max(Math.min(Math.max(last, from), to) - Math.max(first, from), 1) / 1000;
}
