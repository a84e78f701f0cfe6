// The headers of documents: names in lower case, with their values in the order in which they were sent.

import { field } from "./doc";
import { quote } from "./expr";
import type { Doc } from "./types";

export type Side = "request" | "response";

/** values reads the values of a header. Names are in lower case. */
export function values(headers: unknown, name: string): string[] {
  if (typeof headers !== "object" || headers === null || !Object.hasOwn(headers, name)) return [];
  const v = (headers as Record<string, unknown>)[name];
  return Array.isArray(v) ? v.map(String) : [];
}

/** headersOf lists headers: each line of its own, in the order of their names' first line. */
export function headersOf(doc: Doc, side: Side): [name: string, value: string][] {
  const headers = field(doc, `http.${side}.headers`);
  if (typeof headers !== "object" || headers === null) return [];
  return Object.entries(headers).flatMap(([name, all]) =>
    (Array.isArray(all) ? all : [all]).map((v): [string, string] => [name, String(v)]),
  );
}

/** headerClause writes the condition that a header has a value. */
export function headerClause(side: Side, name: string, value: string, exclude = false): string {
  const c = `${side}_header(${quote(name)}) == ${quote(value)}`;
  return exclude ? `not (${c})` : c;
}
