// Reading the rows of aggregates.

import type { Key, Totals } from "./types";

export type Group = Totals & { keys: Key[] };

/** metric reads a metric of a row by the name that the answer has for it; null: there is nothing to compute it of. */
export function metric(row: Totals, name: string): number | null {
  return row.values[name] ?? null;
}

/** name is the text of a key; "": there is none. */
export function name(key: Key | undefined): string {
  return key == null ? "" : String(key);
}

/** id identifies a row by its keys, whatever is in them. */
export function id(row: Group): string {
  return JSON.stringify(row.keys);
}
