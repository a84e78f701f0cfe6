// What changed between two periods, as far as it is more than chance.
//
// A change counts when both hold: it is larger than anybody cares about, and chance hardly does it, even once in the
// hundreds of routes that are looked at.
//
//   requests    counts are Poisson: of both periods' requests each falls into one by its part of the time. More than four
//               standard errors from that, and by half at least, since real traffic comes in bursts
//   error rate  two proportions, pooled: more than four standard errors, and by one in a hundred at least
//   p50, p90    the intervals that hold the true percentile don't overlap. They are told from percentiles around it, three
//               standard errors of its rank away, which holds for any distribution: durations have two humps, hit and miss,
//               more often than not. And by a quarter at least
//
// Below 20 exchanges in either period nothing counts but that a route is new or gone. Percentiles need more by themselves.

import type { Totals } from "../../lib/types";

/** The percentiles that the intervals are told from. */
const ranks = [25, 40, 45, 50, 55, 60, 75, 85, 87, 90, 93, 95, 99];

const metric = (rank: number) => `p${rank}(duration)`;

/** metrics are what has to be asked for. */
export const metrics = ["errors", "sum(duration)", ...ranks.map(metric)].join(",");

/** Figures of a period: durations in nanoseconds. */
export interface Figures {
  count: number;
  errors: number;
  /** Sum of the durations. */
  time: number;
  percentile: (rank: number) => number | null;
}

/** figures reads them from an answer. */
export function figures(t: Totals): Figures {
  return {
    count: t.count,
    errors: t.values["errors"] ?? 0,
    time: t.values["sum(duration)"] ?? 0,
    percentile: (rank) => t.values[metric(rank)] ?? null,
  };
}

/** nothing are the figures of a route that had no exchange. */
export const nothing: Figures = figures({ count: 0, values: {} });

export interface Change {
  before: number | null;
  now: number | null;
  /** It is more than noise. */
  counts: boolean;
}

export interface Changes {
  /** Requests a second. */
  requests: Change;
  /** Part of them that failed. */
  errors: Change;
  p50: Change;
  p90: Change;
  /** Nanoseconds waited for in a second. It isn't judged: it follows from the others. */
  time: Change;
  /** There was none before, or is none now, where chance would have brought some. */
  kind: "new" | "gone" | "both";
}

/** How long two periods are, in seconds. */
export interface Lengths {
  before: number;
  now: number;
}

const fewest = 20;
const errorsAway = 4;
const rankErrorsAway = 3;
const leastRequests = 1.5;
const leastErrors = 0.01;
const leastDuration = 1.25;
/** Where so many are expected, none is chance once in 60,000. */
const expected = 11;

/** compare judges what changed between the figures of two periods. */
export function compare(now: Figures, before: Figures, seconds: Lengths): Changes {
  const enough = now.count >= fewest && before.count >= fewest;
  const all = now.count + before.count;
  const part = seconds.now / (seconds.now + seconds.before);

  const requests = change(before.count / seconds.before, now.count / seconds.now);
  requests.counts =
    enough &&
    Math.abs(now.count - all * part) > errorsAway * Math.sqrt(all * part * (1 - part)) &&
    ratio(requests) >= leastRequests;

  const errors = change(share(before), share(now));
  if (enough) {
    const pooled = (now.errors + before.errors) / all;
    const away = Math.abs(errors.now! - errors.before!);
    const error = Math.sqrt(pooled * (1 - pooled) * (1 / now.count + 1 / before.count));
    errors.counts = away >= leastErrors && away > errorsAway * error;
  }

  const percentile = (rank: number): Change => {
    const c = change(before.percentile(rank), now.percentile(rank));
    const [a, b] = [within(before, rank), within(now, rank)];
    c.counts = enough && !!a && !!b && (a.high < b.low || b.high < a.low) && ratio(c) >= leastDuration;
    return c;
  };
  return {
    requests,
    errors,
    p50: percentile(50),
    p90: percentile(90),
    time: change(before.time / seconds.before, now.time / seconds.now),
    kind:
      before.count === 0 && now.count * (seconds.before / seconds.now) >= expected
        ? "new"
        : now.count === 0 && before.count * (seconds.now / seconds.before) >= expected
          ? "gone"
          : "both",
  };
}

/** any says whether anything of it counts. */
export function any(c: Changes): boolean {
  return c.kind !== "both" || c.requests.counts || c.errors.counts || c.p50.counts || c.p90.counts;
}

function change(before: number | null, now: number | null): Change {
  return { before, now, counts: false };
}

function share(f: Figures): number | null {
  return f.count > 0 ? f.errors / f.count : null;
}

/** ratio is how many times one is the other, from 1. */
export function ratio(c: Change): number {
  const [a, b] = [c.before ?? 0, c.now ?? 0];
  if (a <= 0 || b <= 0) return a === b ? 1 : Infinity;
  return Math.max(a / b, b / a);
}

/** within gives what holds the true percentile, or undefined where there are too few exchanges to tell. */
function within(f: Figures, rank: number): { low: number; high: number } | undefined {
  const away = rankErrorsAway * Math.sqrt((rank * (100 - rank)) / Math.max(f.count, 1));
  const below = ranks.findLast((r) => r <= rank - away);
  const above = ranks.find((r) => r >= rank + away);
  if (below === undefined || above === undefined) return undefined;
  const [low, high] = [f.percentile(below), f.percentile(above)];
  return low === null || high === null ? undefined : { low, high };
}
