// Times that people write and read: in their own zone, with the offset that the zone has at that time.

import { clock, day, offset } from "./format";

/** zone reads how many milliseconds a zone is ahead of UTC: Z, +01:00, −0530. */
function zone(text: string): number | undefined {
  if (/^z$/i.test(text)) return 0;
  const [, sign, hours, minutes = "0"] = /^([+\-−])(\d\d):?(\d\d)?$/.exec(text) ?? [];
  if (!sign) return undefined;
  return (sign === "+" ? 1 : -1) * (Number(hours) * 60 + Number(minutes)) * 60_000;
}

const time = /^(?:(\d{4})-(\d\d?)-(\d\d?)(?:[T ]|\s+|$))?(?:(\d\d?):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?\s*(\S+)?$/i;

/**
 * instant reads a time, in milliseconds since 1970: 2026-01-15 10:42:07.118 +01:00. Without an offset it is in the
 * viewer's zone, without a date today, without a time of day midnight. Also now, and -15m for what was then.
 */
export function instant(text: string, now: number, span: (text: string) => number | undefined): number | undefined {
  const t = text.trim();
  if (t === "now") return now;
  const ago = /^[-−](.+)$/.exec(t)?.[1];
  if (ago) {
    const ms = span(ago);
    return ms === undefined ? undefined : now - ms;
  }
  const found = time.exec(t);
  if (!found || (!found[1] && !found[4])) return undefined;
  const today = new Date(now);
  const [, year, month, date, hours = "0", minutes = "0", seconds = "0", fraction = "", written] = found;
  const [y, m, d] = year
    ? [Number(year), Number(month) - 1, Number(date)]
    : [today.getFullYear(), today.getMonth(), today.getDate()];
  const [h, min, s] = [Number(hours), Number(minutes), Number(seconds)];
  const ms = Math.floor(Number(`0.${fraction || "0"}`) * 1000 + 1e-6);
  const utc = Date.UTC(y, m, d, h, min, s, ms);
  const check = new Date(utc);
  if (check.getUTCMonth() !== m || check.getUTCDate() !== d || h > 23 || min > 59 || s > 59) return undefined;
  if (y < 1970 || y > 2261) return undefined; // what the API takes
  if (written !== undefined) {
    const ahead = zone(written);
    return ahead === undefined ? undefined : utc - ahead;
  }
  return new Date(y, m, d, h, min, s, ms).getTime();
}

/** written is a time as instant() reads it back, exactly to the millisecond. */
export function written(ms: number): string {
  return `${day(ms)} ${clock(ms, ms % 1000 === 0 ? 0 : 3)} ${offset(ms)}`;
}

/** rangeText says a range shortly: 10:42:07 – 10:42:22 +01:00, with its days when they aren't today. */
export function rangeText(from: number, to: number, now: number): string {
  const digits = to - from < 10_000 && (from % 1000 !== 0 || to % 1000 !== 0) ? 3 : 0;
  const [a, b] = [clock(from, digits), clock(to, digits)];
  const first = day(from) === day(now) && day(to) === day(now) ? a : `${day(from)} ${a}`;
  const last = day(from) === day(to) ? b : `${day(to)} ${b}`;
  return offset(from) === offset(to)
    ? `${first} – ${last} ${offset(to)}`
    : `${first} ${offset(from)} – ${last} ${offset(to)}`;
}
