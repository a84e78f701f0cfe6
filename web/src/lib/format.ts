// How numbers and times are written: durations with three significant digits and a unit, bytes in binary units, counts
// with thin separators, times in the viewer's zone.

/** A thin space at which no line breaks. */
const thin = "\u202f";

/** What is shown where there is no value. */
export const absent = "–";

/** three writes a number with three significant digits: 1.23, 12.3, 123. */
function three(n: number): string {
  const a = Math.abs(n);
  if (a === 0) return "0";
  return n.toFixed(a < 9.995 ? 2 : a < 99.95 ? 1 : 0);
}

const durationUnits: [string, number][] = [
  ["ns", 1],
  ["µs", 1e3],
  ["ms", 1e6],
  ["s", 1e9],
];

/** duration writes nanoseconds: 18.0 ms, 1.80 s, 4 m 12 s, 3 h 05 m, 2 d 4 h. */
export function duration(ns: number | null | undefined): string {
  if (ns == null || Number.isNaN(ns)) return absent;
  const a = Math.abs(ns);
  if (a === 0) return "0 ms";
  const sign = ns < 0 ? "−" : "";
  if (a < 999.5) return `${sign}${Math.round(a)} ns`;
  if (a < 59.95e9) {
    // The unit in which what is shown is below 1,000, also after rounding.
    const unit = durationUnits.findLast(([, size]) => a / size >= 0.9995) ?? durationUnits[0]!;
    return `${sign}${three(a / unit[1])} ${unit[0]}`;
  }
  const seconds = Math.round(a / 1e9);
  if (seconds < 3600) return `${sign}${Math.floor(seconds / 60)} m ${two(seconds % 60)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 48 * 60) return `${sign}${Math.floor(minutes / 60)} h ${two(minutes % 60)} m`;
  const hours = Math.round(minutes / 60);
  return `${sign}${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const two = (n: number) => String(n).padStart(2, "0");

const byteUnits = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** bytes writes a size: 312 B, 33.0 KiB. */
export function bytes(n: number | null | undefined): string {
  if (n == null || Number.isNaN(n)) return absent;
  let i = 0;
  let value = Math.abs(n);
  while (value >= 999.5 && i < byteUnits.length - 1) {
    value /= 1024;
    i++;
  }
  return `${n < 0 ? "−" : ""}${i === 0 ? Math.round(value) : three(value)} ${byteUnits[i]}`;
}

/** count writes a whole number with thin spaces: 52 912. */
export function count(n: number | null | undefined): string {
  if (n == null || Number.isNaN(n)) return absent;
  const digits = Math.abs(Math.round(n))
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, thin);
  return n < 0 ? `−${digits}` : digits;
}

/** short writes a count for axes and narrow places: 950, 1.2k, 35k, 1.2M. */
export function short(n: number | null | undefined): string {
  if (n == null || Number.isNaN(n)) return absent;
  const a = Math.abs(n);
  if (a < 1000) return Number.isInteger(n) ? String(n) : three(n);
  for (const [unit, size] of [
    ["k", 1e3],
    ["M", 1e6],
    ["G", 1e9],
    ["T", 1e12],
  ] as const) {
    const v = a / size;
    if (v < 999.5 || unit === "T")
      return `${n < 0 ? "−" : ""}${v < 9.95 ? v.toFixed(1).replace(/\.0$/, "") : v.toFixed(0)}${unit}`;
  }
  return String(n);
}

/** rate writes events a second: 0.25/s, 132/s. What is something, however seldom, doesn't look like nothing. */
export function rate(n: number | null | undefined): string {
  if (n == null || Number.isNaN(n)) return absent;
  if (n > 0 && n < 0.01) return "< 0.01/s";
  return `${n >= 1000 ? count(n) : three(n)}/s`;
}

/** percent writes a part from 0 to 1: 0 %, 0.4 %, 12 %. A part that isn't nothing doesn't look like nothing, nor one that isn't all like all. */
export function percent(part: number | null | undefined): string {
  if (part == null || Number.isNaN(part)) return absent;
  const p = part * 100;
  if (p === 0 || p === 100) return `${p} %`;
  if (p < 0.1) return "< 0.1 %";
  if (p > 99.9 && p < 100) return "> 99.9 %";
  return `${p < 9.95 || (p > 99 && p < 100) ? p.toFixed(1) : p.toFixed(0)} %`;
}

/** value writes a number of a field by its unit (ns, byte or none). */
export function value(n: number | null | undefined, unit: string): string {
  switch (unit) {
    case "ns":
      return duration(n);
    case "byte":
      return bytes(n);
    case "bytes/s":
      return n == null ? absent : `${bytes(n)}/s`;
    case "part":
      return percent(n);
    case "1/s":
      return rate(n);
  }
  if (n != null && !Number.isInteger(n)) return three(n);
  return count(n);
}

// Times. The API's have nanoseconds (2026-01-15T10:42:07.118411000Z), of which Date keeps milliseconds: what is below
// is carried as text, so that nothing that is shown is made up.

/** millis are the milliseconds since 1970 of an API time. */
export function millis(stamp: string): number {
  return Date.parse(stamp.length > 24 ? stamp.slice(0, 23) + "Z" : stamp);
}

/** micros are the microseconds since 1970, exactly: they fit into a number. */
export function micros(stamp: string): number {
  const [head, fraction = ""] = stamp.replace(/Z$/, "").split(".");
  return Date.parse(head + "Z") * 1000 + Number((fraction + "000000").slice(0, 6));
}

/** stamp is a time for the API, of milliseconds since 1970. */
export function stamp(ms: number): string {
  return new Date(ms).toISOString();
}

/** clock writes a time of day, to the millisecond unless told: 10:42:07.118. */
export function clock(at: string | number, digits = 3): string {
  const d = new Date(typeof at === "string" ? millis(at) : at);
  const base = `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
  if (digits === 0) return base;
  const fraction =
    typeof at === "string"
      ? (at.match(/\.(\d+)/)?.[1] ?? "").padEnd(9, "0")
      : String(d.getMilliseconds()).padStart(3, "0").padEnd(9, "0");
  return `${base}.${fraction.slice(0, digits)}`;
}

/** day writes a date: 2026-01-15. */
export function day(at: string | number): string {
  const d = new Date(typeof at === "string" ? millis(at) : at);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
}

/** when writes date and time with the viewer's offset: 2026-01-15 10:42:07.118 +01:00. */
export function when(at: string | number, digits = 3): string {
  return `${day(at)} ${clock(at, digits)} ${offset(at)}`;
}

/** offset is the viewer's distance from UTC at a time: +01:00. */
export function offset(at: string | number): string {
  const minutes = -new Date(typeof at === "string" ? millis(at) : at).getTimezoneOffset();
  const a = Math.abs(minutes);
  return `${minutes < 0 ? "−" : "+"}${two(Math.floor(a / 60))}:${two(a % 60)}`;
}

/** plural writes a count with its noun: 1 exchange, 2 exchanges. */
export function plural(n: number, noun: string, many = noun + "s"): string {
  return `${count(n)} ${n === 1 ? noun : many}`;
}
