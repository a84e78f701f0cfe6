// Reading documents. Every value in them was sent by a stranger: what is read is checked for its type, and only ever
// becomes text.

import { cut, visible } from "./captured";
import type { Doc } from "./types";

/** field reads a value by its dotted name. */
export function field(doc: Doc | undefined, name: string): unknown {
  let at: unknown = doc;
  for (const part of name.split(".")) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, part)) return undefined;
    at = (at as Record<string, unknown>)[part];
  }
  return at;
}

/** text reads a text; of a list, its elements with commas. */
export function text(doc: Doc | undefined, name: string): string {
  const v = field(doc, name);
  if (Array.isArray(v)) return v.map(String).join(", ");
  return typeof v === "string" ? v : v == null || typeof v === "object" ? "" : String(v);
}

/** shown reads a text as it is shown: short, and with nothing in it that steers how it is drawn. */
export function shown(doc: Doc | undefined, name: string): string {
  return visible(cut(text(doc, name), 500));
}

/** number reads a number. */
export function number(doc: Doc | undefined, name: string): number | undefined {
  const v = field(doc, name);
  return typeof v === "number" ? v : undefined;
}

/** list reads a list of texts. */
export function list(doc: Doc | undefined, name: string): string[] {
  const v = field(doc, name);
  return Array.isArray(v) ? v.map(String) : typeof v === "string" ? [v] : [];
}

/** id is the event.id of a document. */
export function id(doc: Doc): string {
  return text(doc, "event.id");
}

/** statusClass is the name of the class (app.css) that a status has. */
export function statusClass(status: number | undefined): string {
  return status === undefined ? "status-none" : `status-${Math.floor(status / 100)}`;
}
