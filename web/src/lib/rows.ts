// The arithmetic of long lists: which time a row number is at, and which row a scroll position is at. What asks and draws
// is elsewhere (rows.svelte.ts, views/exchanges), so that this can be tested by itself.

/** What a histogram counted: exchanges from one time to another, in nanoseconds since 1970; to isn't included. */
export interface Bucket {
  from: bigint;
  to: bigint;
  count: number;
}

/** About how many rows are asked for at once. */
export const pageRows = 200;
/** A part of the time with more rows than this is counted in finer parts before it is loaded. */
export const largestPage = 400;

/** Page is a part of the time whose rows are loaded together, or are counted in finer parts. */
export class Page {
  /** The finer parts, once they are counted. */
  finer?: Index;
  /** The rows were loaded: their number is that of count. */
  counted = false;

  constructor(
    readonly from: bigint,
    readonly to: bigint,
    public count: number,
  ) {}

  /** tooLarge says that it is to be counted in finer parts first. A nanosecond has no parts. */
  get tooLarge(): boolean {
    return this.count > largestPage && this.to - this.from > 1n && !this.counted;
  }
}

/** Place is where a row is: the page, and the number of its first row. */
export interface Place {
  page: Page;
  first: number;
}

/**
 * Index maps row numbers to pages: rows are in the order of time, the newest first, or the oldest first when ascending.
 *
 *   histogram of everything   |  page  |        too large        | page |
 *   histogram of that part             | page | page |too l.| p. |
 *   ...
 */
export class Index {
  readonly pages: Page[];
  /** before[i] is how many rows are before pages[i]; its last element is all rows. */
  private before: number[] = [];

  constructor(buckets: Bucket[], ascending: boolean) {
    this.pages = merge(buckets, ascending);
    this.sum();
  }

  get rows(): number {
    return this.before[this.pages.length]!;
  }

  /** at finds where a row is, or undefined when there is no such row. */
  at(row: number, offset = 0): Place | undefined {
    if (row < 0 || row >= this.rows) return undefined;
    let low = 0;
    let high = this.pages.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.before[middle]! <= row) low = middle;
      else high = middle - 1;
    }
    const page = this.pages[low]!;
    const first = this.before[low]!;
    return page.finer ? page.finer.at(row - first, offset + first) : { page, first: offset + first };
  }

  /** refine puts the finer parts of a page in its place. Their rows may be others than were counted at first. */
  refine(page: Page, buckets: Bucket[], ascending: boolean): void {
    page.finer = new Index(buckets, ascending);
    this.sum();
  }

  /** correct takes over how many rows a page really has. */
  correct(page: Page, count: number): void {
    page.count = count;
    page.counted = true;
    this.sum();
  }

  /** sum counts the rows anew, and returns them. */
  private sum(): number {
    let rows = 0;
    this.before = [0];
    for (const page of this.pages) {
      if (page.finer) page.count = page.finer.sum();
      rows += page.count;
      this.before.push(rows);
    }
    return rows;
  }
}

/** merge makes pages of neighbouring buckets, where they have few rows. Empty buckets are no pages. */
function merge(buckets: Bucket[], ascending: boolean): Page[] {
  const pages: Page[] = [];
  let last: { from: bigint; to: bigint; count: number } | undefined;
  const end = () => {
    if (last) pages.push(new Page(last.from, last.to, last.count));
  };
  for (const b of ascending ? buckets : buckets.toReversed()) {
    if (b.count === 0) continue;
    if (last && last.count + b.count <= pageRows) {
      last.count += b.count;
      if (ascending) last.to = b.to;
      else last.from = b.from;
      continue;
    }
    end();
    last = { ...b };
  }
  end();
  return pages;
}

/** bucketsOf makes buckets of the answer to a histogram, within the time that was asked about. */
export function bucketsOf(start: bigint, interval: bigint, counts: number[], from: bigint, to: bigint): Bucket[] {
  const out: Bucket[] = [];
  counts.forEach((count, i) => {
    if (count === 0) return;
    const begin = start + interval * BigInt(i);
    const end = begin + interval;
    out.push({ from: begin < from ? from : begin, to: end > to ? to : end, count });
  });
  return out;
}

/** finerWidth is the width of the parts, in nanoseconds, in which a page is counted: a round one is better for caches. */
export function finerWidth(page: Pick<Page, "from" | "to" | "count">): bigint {
  const parts = BigInt(Math.min(Math.max(Math.ceil((page.count / pageRows) * 4), 8), 1000));
  const width = (page.to - page.from) / parts;
  return width > 0n ? width : 1n;
}

/** nanos reads a time of the API, to the nanosecond. */
export function nanos(stamp: string): bigint {
  const [head, fraction = ""] = stamp.replace(/Z$/, "").split(".");
  return BigInt(Date.parse(head + "Z")) * 1_000_000n + BigInt((fraction + "000000000").slice(0, 9));
}

/** stampOf writes a time for the API, to the nanosecond. */
export function stampOf(ns: bigint): string {
  const second = new Date(Number(ns / 1_000_000_000n) * 1000).toISOString().slice(0, 19);
  return `${second}.${(ns % 1_000_000_000n).toString().padStart(9, "0")}Z`;
}

/** The greatest height in pixels that elements are given: browsers end between 16 and 33 million. */
export const greatestHeight = 12_000_000;

/**
 * Scroll maps what a scrolling element says to the place in a list that may be taller than elements can be. While it
 * isn't, both are the same. Beyond that, dragging the bar moves in proportion, and small movements move by themselves:
 * pixel by pixel, as everywhere.
 */
export class Scroll {
  /** The place: how many pixels of the list are above the view. */
  top = 0;
  /** What the element is known to be at. */
  private at = 0;

  constructor(
    public rows = 0,
    public rowHeight = 24,
    public view = 0,
  ) {}

  /** How tall the list is, and its element. */
  get whole(): number {
    return this.rows * this.rowHeight;
  }

  get height(): number {
    return Math.min(this.whole, greatestHeight);
  }

  get scaled(): boolean {
    return this.whole > greatestHeight;
  }

  private get most(): number {
    return Math.max(this.whole - this.view, 0);
  }

  private get mostAt(): number {
    return Math.max(this.height - this.view, 0);
  }

  /** scrolled takes over where the element is now. */
  scrolled(at: number): void {
    const by = at - this.at;
    this.at = at;
    if (!this.scaled) this.top = at;
    else if (at <= 0) this.top = 0;
    else if (at >= this.mostAt - 0.5) this.top = this.most;
    else if (Math.abs(by) <= this.view) this.top += by;
    else this.top = (at / this.mostAt) * this.most;
    this.top = clamp(this.top, 0, this.most);
  }

  /** move goes to a place, and returns where the element is to be. */
  move(top: number): number {
    this.top = clamp(top, 0, this.most);
    this.at = this.scaled ? (this.most === 0 ? 0 : (this.top / this.most) * this.mostAt) : this.top;
    return this.at;
  }

  /** drift says by how much the bar shows another place than the list is at. */
  get drift(): number {
    return this.scaled ? Math.abs(this.at - (this.top / Math.max(this.most, 1)) * this.mostAt) : 0;
  }

  /** The first row that is seen, also in part, and the one behind the last. */
  get first(): number {
    return clamp(Math.floor(this.top / this.rowHeight), 0, Math.max(this.rows - 1, 0));
  }

  get end(): number {
    return Math.min(Math.ceil((this.top + this.view) / this.rowHeight), this.rows);
  }

  /** showing returns the nearest place at which a row is seen whole. */
  showing(row: number): number {
    const from = row * this.rowHeight;
    if (from < this.top) return from;
    if (from + this.rowHeight > this.top + this.view) return from + this.rowHeight - this.view;
    return this.top;
  }
}

function clamp(n: number, low: number, high: number): number {
  return Math.min(Math.max(n, low), high);
}

/** nextLimit is how many rows are asked for next of a list that can only be read from its top: few at first, many for a leap. */
export function nextLimit(loaded: number, wanted: number, most: number): number {
  const missing = Math.max(wanted - loaded, pageRows);
  return Math.min(missing, 10_000, most - loaded);
}
