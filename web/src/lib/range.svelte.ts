// The one time range, and what every question has in common: range, filter, text.
//
// A range that moves (the last 15 m, or everything that is stored) is fixed when a view asks, and moves on when tick()
// says so, so that all curves, tables and lists of a page are about the same time.

import { untrack } from "svelte";
import type { Params } from "./api";
import { ask, asking, type Ask } from "./ask.svelte";
import { stamp } from "./format";
import { and } from "./expr";
import { here } from "./here.svelte";
import { requests } from "./kind";
import { server } from "./state.svelte";

export interface Preset {
  /** As the parameter last says it; all: everything that is stored. */
  last: string;
  title: string;
}

export const presets: Preset[] = [
  { last: "5m", title: "Last 5 minutes" },
  { last: "15m", title: "Last 15 minutes" },
  { last: "1h", title: "Last hour" },
  { last: "6h", title: "Last 6 hours" },
  { last: "24h", title: "Last 24 hours" },
  { last: "7d", title: "Last 7 days" },
  { last: "all", title: "Everything stored" },
];

const units: Record<string, number> = { s: 1e3, m: 60e3, h: 3600e3, d: 86400e3, w: 7 * 86400e3 };

/** span reads 15m, 1h30m, 7d, in milliseconds. */
export function span(text: string): number | undefined {
  const parts = [...text.matchAll(/(\d+)([smhdw])/g)];
  if (parts.length === 0 || parts.map((p) => p[0]).join("") !== text) return undefined;
  return parts.reduce((sum, p) => sum + Number(p[1]) * units[p[2]!]!, 0);
}

/** moment reads a time of the URL; what is below a millisecond goes to the side that keeps all exchanges in the range. */
/** The end of the times that the API takes: they are nanoseconds in 64 bits. */
const latest = Date.UTC(2262, 0);

function moment(text: string, round: (ms: number) => number): number | undefined {
  const ms = Date.parse(text);
  if (Number.isNaN(ms) || ms < 0 || ms > latest) return undefined;
  const below = /\.\d{3}\d*[1-9]/.test(text) ? 0.5 : 0;
  return round(ms + below);
}

/** How often what is seen follows the time while live, in milliseconds. */
const livePeriod = 5_000;

class Range {
  /** Counts up when a moving range is to be looked at anew. */
  ticks = $state(0);

  // The status is asked for again and again; of it only these facts may change the range without a tick.
  readonly #known = $derived(server.status !== undefined);
  readonly #any = $derived(server.status?.store.first !== undefined);
  readonly #finished = $derived(
    server.status?.capture?.state === "ended" && server.status.capture.stored.waiting === 0,
  );

  /** fixed are the bounds that the URL says. One may be missing. */
  readonly #fixed = $derived.by(() => {
    const from = moment(here.get("from"), Math.floor);
    const to = moment(here.get("to"), Math.ceil);
    return from === undefined && to === undefined ? undefined : { from, to };
  });

  /** last names the moving range that is chosen, "" when from and to say it. */
  readonly last = $derived.by(() => {
    if (this.#fixed) return "";
    const last = here.get("last");
    if (last === "all" || span(last)) return last;
    // Live, what happens now is wanted; else, what the files have.
    return !this.#known ? "" : server.capturing ? "15m" : "all";
  });

  /** bounds of the range in milliseconds since 1970, or undefined while they aren't known, as nothing is stored. */
  readonly bounds = $derived.by((): { from: number; to: number } | undefined => {
    void this.ticks;
    const fixed = this.#fixed;
    if (fixed?.from !== undefined && fixed.to !== undefined) {
      return { from: fixed.from, to: Math.max(fixed.to, fixed.from + 1) };
    }
    if (!this.#known) return undefined; // the server's clock may not be ours
    const now = Math.ceil(server.now() / 1000) * 1000;
    if (fixed) {
      const to = fixed.to ?? Math.max(now, fixed.from! + 1);
      return { from: fixed.from ?? to - 900e3, to };
    }
    const ms = span(this.last);
    if (ms) return { from: Math.max(now - ms, 0), to: now };
    if (!this.#any) return undefined;
    const { first, last } = untrack(() => server.status!.store);
    if (!first || !last) return undefined;
    // The last exchange belongs to the range, whose end doesn't.
    return { from: Math.floor(Date.parse(first) / 1000) * 1000, to: Math.floor(Date.parse(last) / 1000) * 1000 + 1000 };
  });

  /** scope are the parameters of a question about the range; undefined: there is nothing to ask about yet. */
  readonly scope = $derived.by((): Params | undefined => {
    if (!this.bounds) return undefined;
    return {
      where: here.get("where"),
      text: here.get("text"),
      from: stamp(this.bounds.from),
      to: stamp(this.bounds.to),
    };
  });

  /** requests is the scope of what counts requests: without TLS connections that weren't read, and without what WebSockets said. */
  readonly requests = $derived.by((): Params | undefined => {
    return this.scope && { ...this.scope, where: and(here.get("where"), requests) };
  });

  /** before is that of the period of the same length before. */
  readonly before = $derived.by((): Params | undefined => {
    if (!this.bounds) return undefined;
    const { from, to } = this.bounds;
    return { ...this.requests, from: stamp(2 * from - to), to: stamp(from) };
  });

  readonly live = $derived(here.get("live") === "1");

  tick(): void {
    this.ticks++;
  }

  /** follow turns live on and off. A range that stands still has nothing to follow: then it moves. */
  follow(): void {
    if (this.live) here.set({ live: null });
    else if (this.last === "") here.set({ live: true, from: null, to: null, last: "15m" });
    else here.set({ live: true });
    this.tick();
  }

  /** shift goes earlier (-1) or later (1) by as much as is seen. */
  shift(by: number): void {
    if (!this.bounds) return;
    const { from, to } = this.bounds;
    const width = to - from;
    const begin = Math.max(from + by * width, 0);
    this.set(begin, begin + width);
  }

  /** widen looks at twice as much, with the same middle, but not at what is still to come. */
  widen(): void {
    if (!this.bounds) return;
    const { from, to } = this.bounds;
    const half = (to - from) / 2;
    const end = Math.max(Math.min(to + half, Math.ceil(server.now())), to);
    this.set(Math.max(end - 4 * half, 0), end);
  }

  /** set chooses a range that doesn't move; it may have parts of a millisecond left out on neither side. */
  set(from: number, to: number): void {
    here.set({ from: stamp(Math.floor(from)), to: stamp(Math.ceil(to)), last: null, live: null });
  }

  choose(last: string): void {
    here.set({ last, from: null, to: null });
    this.tick();
  }

  /** begin has what moves follow the time. It is called once, within a component. */
  begin(): void {
    $effect(() => {
      if (!this.live && !server.importing) return;
      const timer = setInterval(
        () => {
          if (document.visibilityState === "visible" && !asking()) this.tick();
        },
        server.importing ? 1_500 : livePeriod,
      );
      return () => clearInterval(timer);
    });
    // What came last of an import belongs to what is seen, too.
    $effect(() => {
      if (this.#finished) untrack(() => this.tick());
    });
  }
}

export const range = new Range();

/** inRange asks about the range: again with each of its ticks, also where the range itself doesn't move. */
export function inRange<T>(question: () => string | undefined): Ask<T> {
  return ask<T>(question, () => range.ticks);
}
