// The one time range, and what every question has in common: range, filter, text.
//
// A range that moves (the last 15 m, or everything while an import runs) is fixed when a view asks, and moves on when
// tick() says so, so that all curves, tables and lists of a page are about the same time.

import type { Params } from "./api";
import { stamp } from "./format";
import { here } from "./here.svelte";
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

/** How often what is seen follows the time while live, in milliseconds. */
const livePeriod = 5_000;

class Range {
  /** Counts up when a moving range is to be looked at anew. */
  ticks = $state(0);

  /** last names the moving range that is chosen, "" when from and to say it. */
  readonly last = $derived.by(() => {
    if (here.get("from") || here.get("to")) return "";
    const last = here.get("last");
    if (last === "all" || span(last)) return last;
    // Live, what happens now is wanted; else, what the files have.
    return server.status === undefined ? "" : server.capturing ? "15m" : "all";
  });

  /** bounds of the range in milliseconds since 1970, or undefined while they aren't known, as nothing is stored. */
  readonly bounds = $derived.by((): { from: number; to: number } | undefined => {
    void this.ticks;
    const from = Date.parse(here.get("from"));
    const to = Date.parse(here.get("to"));
    if (!Number.isNaN(from) || !Number.isNaN(to)) {
      const end = Number.isNaN(to) ? server.now() : to;
      return { from: Number.isNaN(from) ? end - 900e3 : from, to: Math.max(end, (Number.isNaN(from) ? 0 : from) + 1) };
    }
    const ms = span(this.last);
    if (ms) {
      const now = Math.ceil(server.now() / 1000) * 1000;
      return { from: now - ms, to: now };
    }
    const { first, last } = server.status?.store ?? {};
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

  /** before is the scope of the period of the same length before. */
  readonly before = $derived.by((): Params | undefined => {
    if (!this.bounds) return undefined;
    const { from, to } = this.bounds;
    return { ...this.scope, from: stamp(2 * from - to), to: stamp(from) };
  });

  readonly live = $derived(here.get("live") === "1");

  tick(): void {
    this.ticks++;
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
          if (document.visibilityState === "visible") this.tick();
        },
        server.importing ? 1_500 : livePeriod,
      );
      return () => clearInterval(timer);
    });
  }
}

export const range = new Range();
