// What the server says of itself, asked again and again while the page is shown, and its table of fields.

import { get, Problem } from "./api";
import type { Field, Status } from "./types";

/** How often the status is asked for, in milliseconds: while something is imported, and otherwise. */
const often = 1_000;
const seldom = 5_000;

class ServerState {
  status = $state.raw<Status>();
  problem = $state.raw<Problem>();
  /** The difference between the server's clock and ours, in milliseconds. */
  #ahead = 0;
  #timer = 0;

  /** now is the server's time, in milliseconds since 1970. */
  now(): number {
    return Date.now() + this.#ahead;
  }

  async refresh(): Promise<void> {
    clearTimeout(this.#timer);
    try {
      const status = await get<Status>("/api/status");
      this.#ahead = Date.parse(status.now) - Date.now();
      this.status = status;
      this.problem = undefined;
    } catch (e) {
      if (e instanceof Problem) this.problem = e;
    }
    const hidden = document.visibilityState === "hidden";
    this.#timer = window.setTimeout(
      () => void this.refresh(),
      hidden ? 30_000 : this.status?.capture?.state === "importing" ? often : seldom,
    );
  }

  readonly importing = $derived(this.status?.capture?.state === "importing");
  readonly capturing = $derived(this.status?.capture?.state === "capturing");
}

export const server = new ServerState();

class Fields {
  all = $state.raw<Field[]>([]);
  #byName = $derived(new Map(this.all.flatMap((f) => [f.name, f.filter, ...f.aliases].map((n) => [n, f] as const))));

  /** of finds a field by its name or an alias. */
  of(name: string): Field | undefined {
    return this.#byName.get(name);
  }

  /** known finds a field, or makes up what is needed of one that the table doesn't have, as before it is loaded. */
  known(name: string): Field {
    return (
      this.of(name) ?? {
        name,
        filter: name,
        aliases: [],
        kind: "text",
        unit: "",
        meaning: "",
        source: "",
        sortable: false,
        groupable: false,
        numeric: false,
      }
    );
  }

  /** label is the shortest name that people know a field by. */
  label(name: string): string {
    const f = this.of(name);
    return f?.aliases[0] ?? f?.filter ?? name;
  }

  async load(): Promise<void> {
    this.all = (await get<{ fields: Field[] }>("/api/fields")).fields;
  }
}

export const fields = new Fields();
