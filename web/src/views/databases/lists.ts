// The lists of the view Databases, and what their rows are called.

import type { Repeat, Statement } from "../../lib/types";

export interface Listing {
  /** Its name in the address. */
  by: string;
  title: string;
  /** The field that has one row for each of its values: by of /api/statements. */
  field: string;
  /** What a row is, for the heading of its column and for empty answers. */
  one: string;
  /** What its rows are counted in. */
  counted: string;
}

export const listings: [Listing, ...Listing[]] = [
  { by: "statements", title: "Statements", field: "db.query.summary", one: "statement", counted: "Statements" },
  { by: "tables", title: "Tables", field: "db.collection.name", one: "table", counted: "Statements" },
  { by: "names", title: "DNS names", field: "dns.question.name", one: "name", counted: "Lookups" },
];

/** The columns by which the server can sort. */
export const sortable = [
  "count",
  "rate",
  "errors",
  "p50",
  "p95",
  "p99",
  "rows_mean",
  "rows_max",
  "total_time",
] as const;

/** sortFor is the column that the server sorts by, so that those left out are the small ones of that column. */
export function sortFor(parameter: string): string {
  return sortable.find((s) => `-${s}` === parameter) ?? "total_time";
}

/** id identifies a row, whatever is in it. */
export function id(r: Statement): string {
  return JSON.stringify([r.key, r.system, r.database, r.operation, r.type, r.protocol]);
}

/** sure says in words how sure a finding is. */
export function sure(confidence: number): string {
  if (confidence >= 0.95) return "certain";
  if (confidence >= 0.75) return "very likely";
  if (confidence >= 0.5) return "likely";
  if (confidence >= 0.25) return "possible";
  return "a guess";
}

/** how says in which order it was asked. */
export function how(r: Repeat): string {
  return r.sequential ? "one after the other" : `up to ${r.at_once} at once`;
}
