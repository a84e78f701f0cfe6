// Reading what tables of the page say, as people do.

import { expect, type Locator } from "@playwright/test";

/** Row is a row of a table: the texts of its cells, by the headings. */
export type Row = Record<string, string>;

/** rows reads a table. The signs that sort a column, and those that exclude a value, aren't in the texts. */
export async function rows(table: Locator): Promise<Row[]> {
  await expect(table).toBeVisible();
  return table.evaluate((element) => {
    const text = (cell: Element) => {
      const copy = cell.cloneNode(true) as Element;
      for (const sign of copy.querySelectorAll("[aria-hidden=true], .not")) sign.remove();
      return (copy.textContent ?? "").replace(/[ \n]+/g, " ").trim();
    };
    const headings = [...element.querySelectorAll("thead th")].map(text);
    return [...element.querySelectorAll("tbody tr")].map((row) =>
      Object.fromEntries([...row.children].map((cell, i) => [headings[i] ?? String(i), text(cell)])),
    );
  });
}

/** column reads one column of a table. */
export async function column(table: Locator, heading: string): Promise<string[]> {
  return (await rows(table)).map((row) => row[heading] ?? `no ${heading}`);
}

/** whole reads a count: 1 402. */
export function whole(text: string | undefined): number {
  const digits = (text ?? "").replace(/[\u202f,]/g, "");
  return /^\d+$/.test(digits) ? Number(digits) : NaN;
}

const units: Record<string, number> = { h: 3600e9, m: 60e9, s: 1e9, ms: 1e6, µs: 1e3, ns: 1 };

/** nanoseconds reads a duration: 18.0 ms, 4 m 12 s. */
export function nanoseconds(text: string | undefined): number {
  const parts = [...(text ?? "").matchAll(/([\d.]+) (h|ms|m|s|µs|ns)(?= |$)/g)];
  return parts.length === 0 ? NaN : parts.reduce((sum, [, n, unit]) => sum + Number(n) * units[unit!]!, 0);
}

/** expectAbout compares with what is written with three digits. */
export function expectAbout(actual: number, expected: number): void {
  expect(actual).toBeGreaterThan(expected * 0.994);
  expect(actual).toBeLessThan(expected * 1.006);
}

/** sorted copies numbers, the largest first. */
export function descending(numbers: number[]): number[] {
  return [...numbers].sort((a, b) => b - a);
}
