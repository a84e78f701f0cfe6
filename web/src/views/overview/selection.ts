// What is selected of the overview, as parameters of its URL:
//
//   sel=FROM,TO,LOW,HIGH   a region of the heat map: milliseconds since 1970, to the microsecond, and nanoseconds
//   these=FILTER           any other part, as an exchange filter
//
// A region is what its cells have: its ends don't belong to it.

import { duration, when } from "../../lib/format";

export interface Region {
  /** Milliseconds since 1970. */
  from: number;
  to: number;
  /** Nanoseconds. */
  low: number;
  high: number;
}

/** read gives the region that a parameter names, or undefined. */
export function read(text: string): Region | undefined {
  const parts = text.split(",");
  const [from, to, low, high] = parts.map(Number);
  if (parts.length !== 4 || ![from, to, low, high].every(Number.isFinite)) return undefined;
  // Beyond what a Date can write there is nothing to select, and RFC 3339 ends with the year 9999.
  if (from! < 0 || to! >= 253402300800e3 || from! >= to! || low! < 0 || low! >= high!) return undefined;
  return { from: from!, to: to!, low: low!, high: high! };
}

/** write gives the parameter of a region. */
export function write(r: Region): string {
  const ms = (n: number) => String(Math.round(n * 1000) / 1000);
  return [ms(r.from), ms(r.to), r.low, r.high].join(",");
}

/** moment writes milliseconds since 1970 with microseconds, as filters take them. */
export function moment(ms: number): string {
  const micros = Math.round(ms * 1000);
  const whole = Math.floor(micros / 1000);
  return new Date(whole).toISOString().replace("Z", `${String(micros - whole * 1000).padStart(3, "0")}Z`);
}

/** filter writes the exchanges of a region. */
export function filter(r: Region): string {
  return `time >= "${moment(r.from)}" and time < "${moment(r.to)}" and ${durations(r)}`;
}

/** durations writes only how long they took. */
export function durations(r: Region): string {
  return `duration >= ${r.low}ns and duration < ${r.high}ns`;
}

/** describe says what a region is: 10:42:07 – 10:42:22 +01:00, 1.00 s – 3.16 s. */
export function describe(r: Region): string {
  const digits = r.from % 1000 === 0 && r.to % 1000 === 0 ? 0 : 3;
  const [from, to] = [when(r.from, digits), when(r.to, digits)];
  const sameDay = from.slice(0, 10) === to.slice(0, 10);
  return `${from.slice(0, sameDay ? from.lastIndexOf(" ") : undefined)} – ${sameDay ? to.slice(11) : to}, ${duration(r.low)} – ${duration(r.high)}`;
}
