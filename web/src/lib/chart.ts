// The arithmetic of charts over time: buckets, ticks, shades.

import { clock, count, day, short, value } from "./format";

// The widths of buckets that the server takes, in nanoseconds (internal/web/buckets.go). They are chosen here for all
// questions of a page, so that every curve has the same buckets.
const steps = [
  ...[1e3, 1e6].flatMap((unit) => [1, 2, 5, 10, 20, 50, 100, 200, 500].map((n) => n * unit)),
  ...[1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400].map((s) => s * 1e9),
];

const dayWidth = 86400e9;

/** bucketWidth is the smallest readable width, in nanoseconds, that makes at most so many buckets of a range in milliseconds. */
export function bucketWidth(from: number, to: number, buckets: number): number {
  const least = ((to - from) * 1e6) / Math.max(buckets, 1);
  return steps.find((s) => s >= least) ?? Math.ceil(least / dayWidth) * dayWidth;
}

/** bucketsFor is how many buckets a plot of that many pixels has, each at least so wide. */
export function bucketsFor(pixels: number, each = 6, most = 200): number {
  return Math.min(Math.max(Math.floor(pixels / each), 10), most);
}

/** Buckets of time: when the first begins, and their width, in milliseconds. */
export interface Buckets {
  start: number;
  width: number;
  count: number;
}

/** starts are when the buckets begin. */
export function starts(b: Buckets): number[] {
  return Array.from({ length: b.count }, (_, i) => b.start + i * b.width);
}

/**
 * seconds is how much of each bucket is within a range, in seconds: what counts are divided by. The range may have only
 * a sliver of the first and the last; half a bucket is the least, so that one exchange in a sliver isn't a peak.
 */
export function seconds(b: Buckets, from: number, to: number): number[] {
  return starts(b).map((s) => Math.max(Math.min(s + b.width, to) - Math.max(s, from), b.width / 2) / 1000);
}

/** timeTicks writes times of an axis whose ticks are so many milliseconds apart; the date where the day changes. */
export function timeTicks(at: number[], apart: number): string[] {
  return at.map((t, i) => {
    const date = day(t).slice(5);
    if (apart >= 86400e3) return date;
    const time = apart < 1000 ? clock(t, 3) : clock(t, 0).slice(0, apart < 60e3 ? 8 : 5);
    const before = at[i - 1];
    return before !== undefined && day(before).slice(5) !== date ? `${time}\n${date}` : time;
  });
}

/** tick writes a number of an axis: without the zeros that values have for their three digits. */
export function tick(n: number, unit: string): string {
  // 100 s is more easily read off an axis than 1 m 40 s.
  if (unit === "ns" && n >= 60e9 && n <= 1e13 && n % 1e9 === 0) return `${count(n / 1e9)} s`;
  const text = unit === "" ? short(n) : unit === "1/s" ? `${short(n)}/s` : value(n, unit);
  return text.replace(/(\.\d*?)0+(?=[^\d]|$)/, "$1").replace(/\.(?=[^\d]|$)/, "");
}

/** logTicks are the powers of ten within bounds; where those are few, with 2 and 5 between. */
export function logTicks(min: number, max: number): number[] {
  const decades = Math.log10(max / min);
  const factors = decades <= 2 ? [1, 2, 5] : [1];
  const out: number[] = [];
  for (let e = Math.floor(Math.log10(min)); e <= Math.ceil(Math.log10(max)); e++) {
    for (const f of factors) {
      const v = f * 10 ** e;
      if (v >= min * 0.999 && v <= max * 1.001) out.push(v);
    }
  }
  return out;
}

/** logBounds widens bounds to where logTicks has a tick. */
export function logBounds(min: number, max: number): [number, number] {
  const at = (v: number, up: boolean) => {
    const e = 10 ** Math.floor(Math.log10(v));
    const all = [1, 2, 5, 10].map((f) => f * e);
    return up ? all.find((t) => t >= v * 0.999)! : all.findLast((t) => t <= v * 1.001)!;
  };
  const [low, high] = [at(min, false), at(max, true)];
  return high > low ? [low, high] : [low / 2, high * 2];
}

// Bands of magnitude: eight to a power of ten, as the server has them. The band k has the values from bound(k), included,
// to bound(k+1); the band −1 those below 1.

/** bound is where a band begins. */
export function bound(k: number): number {
  return k < 0 ? 0 : Math.round(10 ** (k / 8));
}

/** bandOf is the band that begins at a value. */
export function bandOf(from: number): number {
  return from < 1 ? -1 : Math.round(Math.log10(from) * 8);
}

/** shade is how dark a count is, from 0 to 1: by its logarithm, and never so light that a single exchange isn't seen. */
export function shade(n: number, most: number): number {
  if (n <= 0) return 0;
  return most <= 1 ? 1 : 0.25 + (0.75 * Math.log(n)) / Math.log(most);
}

/** mix gives the colour between two of #rrggbb. */
export function mix(a: string, b: string, part: number): string {
  const channels = (c: string) => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16));
  const [x, y] = [channels(a), channels(b)];
  return `rgb(${x.map((v, i) => Math.round(v + (y[i]! - v) * part)).join(" ")})`;
}

/** alone are the values without a neighbour, which no line would show. */
export function alone(values: ArrayLike<number | null | undefined>): number[] {
  const out: number[] = [];
  for (let i = 0; i < values.length; i++) {
    if (values[i] != null && values[i - 1] == null && values[i + 1] == null) out.push(i);
  }
  return out;
}
