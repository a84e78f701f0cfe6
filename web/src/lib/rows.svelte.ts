// Rows of exchanges, loaded where they are looked at. In the order of time any row of millions is at hand, since counts
// over time say when it was. In another order they are read from the top.

import { get, Problem, url, type Params } from "./api";
import { bucketsOf, finerWidth, Index, nanos, nextLimit, pageRows, stampOf, type Bucket, type Page } from "./rows";
import type { Doc, SearchAnswer } from "./types";

/** Rows that are kept; those that weren't looked at for longest go first. */
const keptRows = 10_000;
/** Questions at once: the server answers four. */
const jobsAtOnce = 3;
/** After how many milliseconds of calm rows are asked for, while the list flies by. */
const calm = 70;
/** After how many milliseconds a question is asked again that the server had no room for. */
const again = 1_000;
/** How many rows can be reached in an order that isn't that of time. */
export const mostSorted = 100_000;
/** How many parts of the time are counted at first. */
const parts = 2_000;

/** Rows is a list of exchanges in some order. Its parts that are state are read in effects and templates. */
export interface Rows {
  /** How many there are, as far as it is known. */
  readonly rows: number;
  /** How many exchanges match: more than rows where not all can be reached. */
  readonly all: number;
  readonly problem: Problem | undefined;
  /** The exchange in a row, or undefined while it isn't loaded. */
  at(row: number): Doc | undefined;
  /** want says which rows are looked at. */
  want(first: number, end: number): void;
  /** retry asks again after a problem. */
  retry(): void;
  /** close ends all questions. */
  close(): void;
}

interface HistogramAnswer {
  start: string;
  interval: number;
  series: { counts: number[] }[];
  total: { count: number };
}

/** What a list shows: the scope of its questions, and the fields of its columns. */
export interface Listing {
  scope: Params;
  fields: string;
  ascending: boolean;
}

/** TimeRows are rows in the order of time. */
export class TimeRows implements Rows {
  rows = $state(0);
  problem = $state.raw<Problem>();
  /** Counts up when rows come. */
  #version = $state(0);
  #index?: Index;
  /** What the first question has found, until pages are there. */
  #head: Doc[] = [];
  /** The rows of pages; those looked at last are at the end. */
  #pages = new Map<Page, Doc[]>();
  #jobs = new Map<Page, AbortController>();
  #abort = new AbortController();
  #first = 0;
  #end = pageRows / 2;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;
  /** loaded is told of rows that have come. */
  loaded?: (docs: Doc[]) => void;

  constructor(readonly listing: Listing) {}

  get all(): number {
    return this.rows;
  }

  /** begin counts the rows, and gets the first ones meanwhile. */
  async begin(): Promise<void> {
    const { scope } = this.listing;
    const head = this.#search(scope, pageRows / 2, this.#abort.signal).then((answer) => {
      if (this.#index || this.#closed) return;
      this.#head = answer.exchanges;
      this.rows = this.#head.length;
      this.#arrived(this.#head);
    });
    const counted = this.#count(scope, { buckets: parts }, this.#abort.signal).then((buckets) => {
      this.#index = new Index(buckets, this.listing.ascending);
      this.rows = this.#index.rows;
      this.#work();
    });
    const failed = this.#failed.bind(this);
    await Promise.race([head.catch(failed), counted.catch(failed)]);
  }

  at(row: number): Doc | undefined {
    void this.#version;
    const place = this.#index?.at(row);
    const page = place && this.#pages.get(place.page);
    return page ? page[row - place.first] : this.#head[row];
  }

  want(first: number, end: number): void {
    const leap = Math.abs(first - this.#first) > (end - first) * 2;
    this.#first = first;
    this.#end = end;
    clearTimeout(this.#timer);
    if (leap) this.#timer = setTimeout(() => this.#work(), calm);
    else this.#work();
  }

  retry(): void {
    this.problem = undefined;
    if (this.#index) this.#work();
    else void this.begin();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#abort.abort();
    for (const job of this.#jobs.values()) job.abort();
    this.#jobs.clear();
  }

  /** show changes the fields of rows, which are all loaded anew. */
  show(fields: string): void {
    this.listing.fields = fields;
    this.#pages.clear();
    for (const job of this.#jobs.values()) job.abort();
    this.#jobs.clear();
    this.#work();
  }

  /** work begins the questions whose rows are looked at, and ends the others. */
  #work(): void {
    if (!this.#index || this.#closed || this.problem) return;
    const view = this.#end - this.#first;
    const needed = new Set<Page>();
    // What is seen comes first, then what is about to be.
    for (const [from, to] of [
      [this.#first, this.#end],
      [this.#end, this.#end + view],
      [this.#first - view, this.#first],
    ] as const) {
      for (let row = Math.max(from, 0); row < Math.min(to, this.rows);) {
        const place = this.#index.at(row);
        if (!place) break;
        needed.add(place.page);
        row = place.first + Math.max(place.page.count, 1);
      }
    }
    for (const [page, job] of this.#jobs) {
      if (needed.has(page)) continue;
      job.abort();
      this.#jobs.delete(page);
    }
    for (const page of needed) {
      const docs = this.#pages.get(page);
      if (docs) {
        this.#pages.delete(page);
        this.#pages.set(page, docs);
      } else if (this.#jobs.size < jobsAtOnce && !this.#jobs.has(page)) {
        void this.#job(page);
      }
    }
    this.#forget(needed);
  }

  async #job(page: Page): Promise<void> {
    const abort = new AbortController();
    this.#jobs.set(page, abort);
    const scope = { ...this.listing.scope, from: stampOf(page.from), to: stampOf(page.to) };
    try {
      if (page.tooLarge) {
        const width = finerWidth(page);
        const buckets = await this.#count(scope, { interval: `${width}ns` }, abort.signal);
        if (abort.signal.aborted) return;
        this.#index!.refine(page, buckets, this.listing.ascending);
      } else {
        const docs: Doc[] = [];
        for (let after = ""; ;) {
          const answer = await this.#search({ ...scope, after }, 10_000, abort.signal);
          docs.push(...answer.exchanges);
          if (!(after = answer.next)) break;
        }
        if (abort.signal.aborted) return;
        this.#pages.set(page, docs);
        // While exchanges are stored, or expire, there are others than were counted.
        if (docs.length !== page.count) this.#index!.correct(page, docs.length);
        this.#arrived(docs);
      }
      this.rows = this.#index!.rows;
      this.#version++;
    } catch (e) {
      if (abort.signal.aborted) return;
      this.#failed(e);
    } finally {
      if (this.#jobs.get(page) === abort) this.#jobs.delete(page);
    }
    this.#work();
  }

  #arrived(docs: Doc[]): void {
    this.#version++;
    this.loaded?.(docs);
  }

  /** forget drops the rows that weren't looked at for longest. */
  #forget(needed: Set<Page>): void {
    let kept = 0;
    for (const docs of this.#pages.values()) kept += docs.length;
    for (const [page, docs] of this.#pages) {
      if (kept <= keptRows) return;
      if (needed.has(page)) continue;
      this.#pages.delete(page);
      kept -= docs.length;
    }
  }

  #failed(e: unknown): void {
    if (this.#closed || (e instanceof DOMException && e.name === "AbortError")) return;
    if (!(e instanceof Problem)) throw e;
    if (e.status === 429 && this.#index) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#work(), again);
      return;
    }
    this.problem = e;
  }

  #search(scope: Params, limit: number, signal: AbortSignal): Promise<SearchAnswer> {
    const { ascending, fields } = this.listing;
    return get<SearchAnswer>(url("/api/exchanges", scope, { fields, ascending, limit }), signal);
  }

  async #count(scope: Params, width: Params, signal: AbortSignal): Promise<Bucket[]> {
    const answer = await get<HistogramAnswer>(url("/api/histogram", scope, width), signal);
    const counts = answer.series[0]?.counts ?? [];
    return bucketsOf(
      nanos(answer.start),
      BigInt(answer.interval),
      counts,
      nanos(String(scope.from)),
      nanos(String(scope.to)),
    );
  }
}

/** SortedRows are rows in the order of a field, which are read from the top. */
export class SortedRows implements Rows {
  rows = $state(0);
  all = $state(0);
  problem = $state.raw<Problem>();
  #docs: Doc[] = [];
  #version = $state(0);
  #next = "";
  #busy = false;
  #end = 0;
  #abort = new AbortController();

  constructor(
    readonly listing: Listing,
    readonly sort: string,
  ) {}

  async begin(): Promise<void> {
    const { scope } = this.listing;
    get<HistogramAnswer>(url("/api/histogram", scope, { buckets: 1 }), this.#abort.signal)
      .then((answer) => {
        this.all = answer.total.count;
        this.rows = Math.max(Math.min(this.all, mostSorted), this.#docs.length);
      })
      .catch((e: unknown) => this.#failed(e));
    await this.#more(pageRows);
  }

  at(row: number): Doc | undefined {
    void this.#version;
    return this.#docs[row];
  }

  want(_: number, end: number): void {
    this.#end = end;
    if (!this.#busy && this.#next && end + pageRows / 2 > this.#docs.length && this.#docs.length < mostSorted) {
      void this.#more(nextLimit(this.#docs.length, end + pageRows / 2, mostSorted));
    }
  }

  retry(): void {
    this.problem = undefined;
    void this.#more(pageRows);
  }

  close(): void {
    this.#abort.abort();
  }

  async #more(limit: number): Promise<void> {
    this.#busy = true;
    const { scope, fields, ascending } = this.listing;
    try {
      const answer = await get<SearchAnswer>(
        url("/api/exchanges", scope, { fields, ascending, sort: this.sort, limit, after: this.#next }),
        this.#abort.signal,
      );
      this.#docs.push(...answer.exchanges);
      this.#next = answer.next;
      if (!this.#next) this.rows = this.#docs.length;
      else this.rows = Math.max(this.rows, this.#docs.length);
      this.#version++;
    } catch (e) {
      this.#failed(e);
    } finally {
      this.#busy = false;
    }
    if (!this.problem) this.want(0, this.#end);
  }

  #failed(e: unknown): void {
    if (this.#abort.signal.aborted) return;
    if (!(e instanceof Problem)) throw e;
    this.problem = e;
  }
}
