import { expect, test } from "@playwright/test";
import {
  bucketsOf,
  finerWidth,
  greatestHeight,
  Index,
  largestPage,
  nanos,
  nextLimit,
  pageRows,
  Scroll,
  stampOf,
} from "../../src/lib/rows";
import { numbers } from "./wire";

/** A store: times of exchanges, in order, as a histogram counts them and a search finds them. */
function count(times: bigint[], from: bigint, to: bigint, width: bigint) {
  const start = from - (from % width);
  const counts: number[] = new Array<number>(Number((to - 1n - start) / width) + 1).fill(0);
  for (const t of times) if (t >= from && t < to) counts[Number((t - start) / width)]!++;
  return bucketsOf(start, width, counts, from, to);
}

/** Bursts and gaps, many of them in one nanosecond. */
function times(random: (below: number) => number, n: number): bigint[] {
  const all: bigint[] = [];
  let t = 1_700_000_000_000_000_000n;
  while (all.length < n) {
    t += BigInt(random(3) === 0 ? random(2_000_000_000) : random(50));
    for (let k = random(20) === 0 ? random(900) : 1; k > 0; k--) all.push(t);
  }
  return all;
}

for (const ascending of [false, true]) {
  test(`any row is found where it is, ${ascending ? "the oldest" : "the newest"} first`, () => {
    const random = numbers(7);
    for (let round = 0; round < 6; round++) {
      const store = times(random, 2_000);
      const [from, to] = [store[0]! - 5n, store.at(-1)! + 1n];
      const index = new Index(count(store, from, to, (to - from) / 50n + 1n), ascending);
      expect(index.rows).toBe(store.length);
      const order = ascending ? store : store.toReversed();
      for (let i = 0; i < 100; i++) {
        const row = random(store.length);
        let place = index.at(row)!;
        while (place.page.tooLarge) {
          const { page } = place;
          index.refine(page, count(store, page.from, page.to, finerWidth(page)), ascending);
          place = index.at(row)!;
        }
        const { page, first } = place;
        expect(page.count <= largestPage || page.to - page.from === 1n).toBe(true);
        const found = order.filter((t) => t >= page.from && t < page.to);
        expect(found.length).toBe(page.count);
        expect(found[row - first]).toBe(order[row]);
        // The rows of the page are those from first on.
        expect(order.slice(first, first + page.count).join()).toBe(found.join());
      }
      expect(index.rows).toBe(store.length);
      expect(index.at(-1)).toBeUndefined();
      expect(index.at(store.length)).toBeUndefined();
    }
  });
}

test("few rows are one page, and small buckets join", () => {
  const buckets = Array.from({ length: 1000 }, (_, i) => ({
    from: BigInt(i * 10),
    to: BigInt(i * 10 + 10),
    count: i % 3,
  }));
  const index = new Index(buckets, false);
  expect(index.pages.length).toBeLessThanOrEqual(Math.ceil(index.rows / pageRows) * 2);
  expect(index.pages[0]!.to).toBe(9990n);
});

test("a page that has other rows than were counted moves those behind it", () => {
  const index = new Index(
    [
      { from: 0n, to: 10n, count: 200 },
      { from: 10n, to: 20n, count: 200 },
    ],
    true,
  );
  const page = index.at(0)!.page;
  index.correct(page, 203);
  expect(index.rows).toBe(403);
  expect(index.at(202)!.page).toBe(page);
  expect(index.at(203)!.first).toBe(203);
  index.correct(page, 0);
  expect(index.rows).toBe(200);
  expect(index.at(0)!.page).not.toBe(page);
});

test("times keep their nanoseconds", () => {
  for (const s of ["2026-11-20T08:00:50.052043785Z", "1999-12-31T23:59:59.000000001Z"])
    expect(stampOf(nanos(s))).toBe(s);
  expect(nanos("2026-11-20T08:00:50Z")).toBe(1795161650_000_000_000n);
  expect(nanos("2026-11-20T08:00:50.5Z")).toBe(1795161650_500_000_000n);
});

test("a list that elements can hold scrolls as they do", () => {
  const s = new Scroll(1000, 24, 600);
  expect(s.scaled).toBe(false);
  s.scrolled(1234);
  expect(s.top).toBe(1234);
  expect(s.first).toBe(51);
  expect(s.end).toBe(77);
  expect(s.move(1e9)).toBe(24_000 - 600);
});

test("a list of millions reaches every row, and small steps stay small", () => {
  const s = new Scroll(10_000_000, 24, 600);
  expect(s.scaled).toBe(true);
  expect(s.height).toBe(greatestHeight);
  // The bar to the middle, to the ends.
  s.scrolled((greatestHeight - 600) / 2);
  expect(Math.abs(s.first - 5_000_000)).toBeLessThan(30);
  s.scrolled(greatestHeight - 600);
  expect(s.end).toBe(10_000_000);
  s.scrolled(0);
  expect(s.first).toBe(0);
  // Steps of the wheel and of keys.
  for (let i = 1; i <= 50; i++) {
    s.move(s.top + 24);
    expect(s.first).toBe(i);
  }
  // The element moves a little: the list moves as much, and the bar is put right later.
  const at = s.move(120_000_000);
  s.scrolled(at + 100);
  expect(s.top).toBe(120_000_100);
  expect(s.drift).toBeGreaterThan(50);
  s.move(s.top);
  expect(s.drift).toBe(0);
});

test("a row is shown with the least movement", () => {
  const s = new Scroll(1000, 24, 240);
  s.move(2400);
  expect(s.showing(105)).toBe(2400);
  expect(s.showing(99)).toBe(99 * 24);
  expect(s.showing(110)).toBe(111 * 24 - 240);
});

test("a list that is read from its top leaps in few questions", () => {
  let loaded = 0;
  let questions = 0;
  while (loaded < 100_000) {
    const n = nextLimit(loaded, 100_000, 100_000);
    expect(n).toBeGreaterThan(0);
    expect(n).toBeLessThanOrEqual(10_000);
    loaded += n;
    questions++;
  }
  expect(loaded).toBe(100_000);
  expect(questions).toBe(10);
  expect(nextLimit(0, 10, 100_000)).toBe(pageRows);
});
