// Exchanges as they complete, by the live stream.

import { id } from "./doc";
import type { Doc } from "./types";

/** Exchanges of the live stream that are kept above those stored, until the list is asked for anew. */
const liveRows = 5_000;
/** Requests that wait, which are shown. */
const waitingRows = 100;
/** After how many milliseconds a stream that was refused is asked for again. */
const liveAgain = 3_000;

/** LiveRow is an exchange that has completed, or a number of those that were left out; null: it isn't known how many. */
export type LiveRow = { doc: Doc; came: number } | { gap: number | null };

/** Waiting is a request that waits for its answer. */
export interface Waiting {
  doc: Doc;
  /** Nanoseconds, when it was told; and when that was, in milliseconds of performance.now(). */
  waited: number;
  came: number;
}

/** LiveRows are exchanges as they complete, the newest first. What comes is shown with the next frame. */
export class LiveRows {
  rows = $state.raw<LiveRow[]>([]);
  waiting = $state.raw<Waiting[]>([]);
  /** Exchanges that came while paused. */
  unseen = $state(0);
  /** There are more than are kept: the list is to be asked for anew. */
  full = $state(false);
  connected = $state(false);
  #paused = false;
  /** Some that came while paused aren't kept. */
  #lost = false;
  #events?: EventSource;
  #came: LiveRow[] = [];
  #waits: Waiting[] = [];
  #done = new Set<string>();
  #frame = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly question: string,
    private readonly opened: () => void,
  ) {
    this.#connect();
  }

  /** pause counts what comes, and doesn't show it. */
  pause(): void {
    this.#paused = true;
  }

  /** resume shows what came meanwhile. It returns false when not all of it is kept: then the list is to be asked for anew. */
  resume(): boolean {
    const all = !this.#lost;
    this.#paused = this.#lost = false;
    this.unseen = 0;
    this.#flush();
    return all;
  }

  /** follow takes over what came by the stream before, until a list has it: drop and without forget it then. */
  follow(before: LiveRows): void {
    this.rows = [...before.#came.toReversed(), ...before.rows].filter((r) => "doc" in r).slice(0, liveRows);
  }

  /** drop forgets the rows for which gone is true, and what was left out: the list was asked for anew. */
  drop(gone: (doc: Doc, came: number) => boolean): void {
    const stays = (r: LiveRow) => "doc" in r && !gone(r.doc, r.came);
    this.rows = this.rows.filter(stays);
    this.#came = this.#came.filter(stays);
    this.unseen = this.#paused ? this.#came.length : 0;
    this.#lost = false;
    this.full = this.rows.length >= liveRows;
  }

  /** without forgets rows that are shown below. */
  without(docs: Doc[]): void {
    if (this.rows.length === 0) return;
    const ids = new Set(docs.map(id));
    if (this.rows.some((r) => "doc" in r && ids.has(id(r.doc)))) {
      this.rows = this.rows.filter((r) => !("doc" in r && ids.has(id(r.doc))));
    }
  }

  close(): void {
    this.#events?.close();
    clearTimeout(this.#timer);
    cancelAnimationFrame(this.#frame);
  }

  #connect(): void {
    const events = (this.#events = new EventSource(this.question));
    events.onopen = () => {
      this.connected = true;
      this.opened();
    };
    events.onerror = () => {
      this.connected = false;
      if (events.readyState !== EventSource.CLOSED) return; // it comes back by itself
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#connect(), liveAgain);
    };
    events.addEventListener("exchange", (e: MessageEvent<string>) => {
      const doc = JSON.parse(e.data) as Doc;
      this.#answered(id(doc));
      this.#add({ doc, came: performance.now() }, 1);
    });
    events.addEventListener("waiting", (e: MessageEvent<string>) => {
      const { waited, exchange } = JSON.parse(e.data) as { waited: number; exchange: Doc };
      this.#waits.push({ doc: exchange, waited, came: performance.now() });
      if (this.#waits.length > waitingRows) this.#waits.shift();
      this.#soon();
    });
    events.addEventListener("gap", (e: MessageEvent<string>) => {
      const { left_out } = JSON.parse(e.data) as { left_out: number | null };
      this.#add({ gap: left_out }, left_out ?? 0);
    });
  }

  /** answered takes a request out of those that wait. Only what is shown is remembered until the next frame. */
  #answered(exchange: string): void {
    if (this.#waits.length > 0) this.#waits = this.#waits.filter((w) => id(w.doc) !== exchange);
    if (this.waiting.some((w) => id(w.doc) === exchange)) this.#done.add(exchange);
  }

  #add(row: LiveRow, exchanges: number): void {
    this.#came.push(row);
    if (this.#paused) this.unseen += exchanges;
    // Hidden pages have no frames, and paused lists don't take what comes.
    if (this.#came.length > liveRows) {
      this.#came.shift();
      this.#lost = true;
    }
    this.#soon();
  }

  #soon(): void {
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#flush());
  }

  #flush(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (this.#waits.length > 0 || this.#done.size > 0) {
      const known = new Map([...this.waiting, ...this.#waits].map((w) => [id(w.doc), w] as const));
      this.waiting = [...known.values()].filter((w) => !this.#done.has(id(w.doc))).slice(-waitingRows);
      this.#waits = [];
      this.#done.clear();
    }
    if (this.#paused || this.#came.length === 0) return;
    const rows = [...this.#came.reverse(), ...this.rows];
    this.#came = [];
    this.full = rows.length >= liveRows || this.#lost;
    this.rows = rows.slice(0, liveRows);
  }
}
