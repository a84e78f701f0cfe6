// Time lost, by who is to blame for it.

import { partyOf, type Party } from "../../lib/blame";
import type { Buckets } from "../../lib/chart";
import { micros } from "../../lib/format";
import type { AggregateAnswer } from "../../lib/types";

/** The metric that it is made of, grouped by culprit.blame.who. */
export const lostTime = "sum(culprit.blame.time)";
export const byParty = "culprit.blame.who";

export interface Lost extends Party {
  /** Nanoseconds in all and in each bucket, and of how many exchanges. */
  time: number;
  times: number[];
  count: number;
}

/** lost is the time by party over time, who has most of it first. */
export function lost(answer: AggregateAnswer, buckets: Buckets): Lost[] {
  const out: (Lost | undefined)[] = answer.groups.map((g) => {
    const time = g.values[lostTime] ?? 0;
    if (time <= 0 || g.keys[0] == null) return undefined;
    return { ...partyOf(String(g.keys[0])), time, times: new Array<number>(buckets.count).fill(0), count: g.count };
  });
  for (const row of answer.rows) {
    const of = out[row.group];
    const at = Math.round((micros(row.start) / 1000 - buckets.start) / buckets.width);
    if (of && of.times[at] !== undefined) of.times[at] += row.values[lostTime] ?? 0;
  }
  return out.filter((l) => l !== undefined).sort((a, b) => b.time - a.time);
}
