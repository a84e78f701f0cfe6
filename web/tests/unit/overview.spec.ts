// The arithmetic of the overview: buckets, axes, selections, and what counts as a change.

import { expect, test } from "@playwright/test";
import * as chart from "../../src/lib/chart";
import { any, compare, figures, metrics, nothing, type Figures } from "../../src/views/overview/changes";
import { counted } from "../../src/views/overview/classes";
import * as selection from "../../src/views/overview/selection";
import type { AggregateAnswer } from "../../src/lib/types";
import { Random } from "./random";

/** random gives numbers from 0 to 1, the same each time. */
function random(seed: number): () => number {
  const r = new Random(seed);
  return () => r.below(2 ** 32) / 2 ** 32;
}

test("widths of buckets are round, and make no more buckets than asked for", () => {
  expect(chart.bucketWidth(0, 15_500, 160)).toBe(100e6);
  expect(chart.bucketWidth(0, 60_000, 60)).toBe(1e9);
  expect(chart.bucketWidth(0, 60_001, 60)).toBe(2e9);
  expect(chart.bucketWidth(0, 30 * 86400e3, 100)).toBe(12 * 3600e9);
  expect(chart.bucketWidth(0, 1000 * 86400e3, 100)).toBe(10 * 86400e9);
  expect(chart.bucketWidth(0, 1, 100)).toBe(10e3);
});

test("a bucket that the range has a sliver of isn't a peak", () => {
  const b = { start: 0, width: 1000, count: 4 };
  expect(chart.seconds(b, 990, 3200)).toEqual([0.5, 1, 1, 0.5]);
  expect(chart.seconds(b, 250, 3750)).toEqual([0.75, 1, 1, 0.75]);
});

test("ticks have a unit and no needless digits", () => {
  expect(chart.tick(10e6, "ns")).toBe("10 ms");
  expect(chart.tick(2.5e6, "ns")).toBe("2.5 ms");
  expect(chart.tick(100e9, "ns")).toBe("100 s");
  expect(chart.tick(0.25, "1/s")).toBe("0.25/s");
  expect(chart.tick(20_000, "1/s")).toBe("20k/s");
  expect(chart.tick(0.5, "part")).toBe("50 %");
  expect(chart.tick(1024 ** 2, "byte")).toBe("1 MiB");
  expect(chart.tick(100, "")).toBe("100");
});

test("logarithmic bounds have the values between them, and a tick", () => {
  const next = random(7);
  const wrong: number[][] = [];
  for (let i = 0; i < 2000; i++) {
    const a = 10 ** (next() * 11);
    const b = a * 10 ** (next() * 4);
    const [low, high] = chart.logBounds(a, b);
    const ticks = chart.logTicks(low, high);
    if (!(low <= a * 1.001 && high >= b * 0.999 && high > low && ticks.length > 0)) wrong.push([a, b, low, high]);
  }
  expect(wrong).toEqual([]);
});

test("bands of the heat map are the server's", () => {
  // As docs/api.md shows them.
  expect([3162278, 17782794, 31622777, 1778279410].map((ns) => chart.bound(chart.bandOf(ns)))).toEqual([
    3162278, 17782794, 31622777, 1778279410,
  ]);
  expect(chart.bound(chart.bandOf(3162278) + 1)).toBe(4216965);
  expect(chart.bandOf(0)).toBe(-1);
  expect(chart.bound(-1)).toBe(0);
});

test("a single exchange is seen beside a million", () => {
  expect(chart.shade(1, 1e6)).toBeGreaterThanOrEqual(0.25);
  expect(chart.shade(1e6, 1e6)).toBeCloseTo(1);
  expect(chart.shade(1, 1)).toBe(1);
  expect(chart.shade(0, 9)).toBe(0);
  expect(chart.mix("#000000", "#ff8000", 0.5)).toBe("rgb(128 64 0)");
});

test("values without a neighbour are drawn as points", () => {
  expect(chart.alone([1, null, 2, 3, null, 4])).toEqual([0, 5]);
  expect(chart.alone([null, 7, null])).toEqual([1]);
  expect(chart.alone([])).toEqual([]);
});

test("a selection survives the address bar, and what isn't one is none", () => {
  const next = random(8);
  const wrong: selection.Region[] = [];
  for (let i = 0; i < 2000; i++) {
    const from = Math.floor(next() * 4e12) + Math.floor(next() * 1000) / 1000;
    const r = { from, to: from + 1 + Math.floor(next() * 1e6), low: Math.floor(next() * 1e9), high: 2e9 };
    const back = selection.read(selection.write(r));
    const near = (x: number, y: number) => Math.abs(x - y) < 0.001;
    if (!back || !near(back.from, from) || !near(back.to, r.to) || back.low !== r.low || back.high !== r.high)
      wrong.push(r);
  }
  expect(wrong).toEqual([]);
  for (const bad of [
    "",
    "1,2,3",
    "1,2,3,4,5",
    "2,1,3,4",
    "1,2,4,3",
    "a,b,c,d",
    "1,2,-3,4",
    "1,1e99,0,1",
    "NaN,2,3,4",
    "-5,2,3,4",
  ]) {
    expect(selection.read(bad), bad).toBeUndefined();
  }
});

test("a selection is a filter to the microsecond", () => {
  const from = Date.UTC(2026, 0, 15, 10, 42, 7, 118) + 0.25;
  expect(selection.filter({ from, to: from + 1, low: 1e6, high: 1333521 })).toBe(
    'time >= "2026-01-15T10:42:07.118250Z" and time < "2026-01-15T10:42:07.119250Z" and duration >= 1000000ns and duration < 1333521ns',
  );
});

test("who was cut off or not answered is counted as that, once", () => {
  const group = (status: string | null, grade: string, count: number) => ({ keys: [status, grade], count, values: {} });
  const answer = {
    groups: [
      group("4xx", "aborted", 2),
      group("4xx", "complete", 3),
      group(null, "unanswered", 4),
      group("2xx", "complete", 9),
    ],
    rows: [
      { group: 0, start: "2026-01-15T10:42:01.000000000Z", count: 2, values: {} },
      { group: 1, start: "2026-01-15T10:42:00.000000000Z", count: 3, values: {} },
      { group: 2, start: "2026-01-15T10:42:02.000000000Z", count: 4, values: {} },
      { group: 3, start: "2026-01-15T10:42:02.000000000Z", count: 9, values: {} },
    ],
  } as unknown as AggregateAnswer;
  const all = counted(answer, { start: Date.UTC(2026, 0, 15, 10, 42), width: 1000, count: 3 });
  expect(all.map((c) => [c.name, c.count, c.counts])).toEqual([
    ["4xx", 3, [3, 0, 0]],
    ["aborted", 2, [0, 2, 0]],
    ["unanswered", 4, [0, 0, 4]],
  ]);
});

// Changes. Figures are made as the API makes them, of samples.

function sample(durations: number[], errors: number): Figures {
  const sorted = durations.toSorted((a, b) => a - b);
  const values: Record<string, number> = { errors, "sum(duration)": sorted.reduce((a, b) => a + b, 0) };
  for (const [, name, rank] of metrics.matchAll(/(p(\d+)\(duration\))/g)) {
    values[name!] = sorted[Math.max(Math.ceil((Number(rank) / 100) * sorted.length) - 1, 0)]!;
  }
  return figures({ count: durations.length, values });
}

const minute = { before: 60, now: 60 };

/** durations are those of a route with a cache, from which some of its answers come. */
function durations(next: () => number, n: number, factor = 1, cached = 0.5): number[] {
  const normal = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  return Array.from({ length: n }, () => factor * (next() < cached ? 1e6 : 12e6) * Math.exp(0.5 * normal()));
}

test("chance isn't a change, not even once in hundreds of routes", () => {
  const next = random(9);
  let counted = 0;
  for (let i = 0; i < 1000; i++) {
    const about = Math.floor(10 ** (1 + 2 * next()));
    const one = () => {
      const n = Math.max(
        Math.round(about + Math.sqrt(about) * (next() + next() + next() + next() - 2) * Math.sqrt(3)),
        0,
      );
      const all = durations(next, n);
      return sample(all, all.filter(() => next() < 0.05).length);
    };
    if (any(compare(one(), one(), minute))) counted++;
  }
  expect(counted).toBeLessThanOrEqual(1);
});

test("what changed for good is seen", () => {
  const next = random(10);
  const usual = (n: number, factor = 1) => durations(next, n, factor, 0.2);
  const before = sample(usual(1000), 20);
  expect(compare(sample(usual(1000, 3), 20), before, minute)).toMatchObject({
    p50: { counts: true },
    p90: { counts: true },
    requests: { counts: false },
    errors: { counts: false },
  });
  expect(compare(sample(usual(1000), 150), before, minute)).toMatchObject({
    errors: { counts: true },
    p50: { counts: false },
  });
  expect(compare(sample(usual(2500), 50), before, minute)).toMatchObject({ requests: { counts: true } });
  // Half the time and as many requests are twice as many.
  expect(compare(sample(usual(1000), 20), before, { before: 60, now: 30 })).toMatchObject({
    requests: { counts: true },
  });
  // Half the time, half the requests: nothing changed.
  expect(compare(sample(usual(500), 10), before, { before: 60, now: 30 })).toMatchObject({
    requests: { counts: false },
  });
});

test("small counts don't shout, and what is new or gone is said where chance would have brought some", () => {
  const few = (n: number, factor: number) => sample(durations(random(11), n, factor), 0);
  expect(any(compare(few(6, 100), few(6, 1), minute))).toBe(false);
  expect(any(compare(few(19, 1), few(2, 1), minute))).toBe(false);
  expect(compare(few(30, 1), nothing, minute).kind).toBe("new");
  expect(compare(few(5, 1), nothing, minute).kind).toBe("both");
  expect(compare(nothing, few(30, 1), minute).kind).toBe("gone");
  // Thirty in an hour are none in a minute.
  expect(compare(nothing, few(30, 1), { before: 3600, now: 60 }).kind).toBe("both");
});
