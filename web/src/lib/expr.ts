// Writing exchange filters: docs/filter.md.

import { bytesOf } from "./captured";
import type { Field, Key } from "./types";

/** Token is a piece of a filter, as the language reads it. from and to are places in the text. */
export interface Token {
  kind: "space" | "comment" | "text" | "number" | "name" | "sign";
  from: number;
  to: number;
  /** A text or comment ends; those that don't reach to the end of the filter. */
  closed: boolean;
}

const spaces = /\s+/y;
const comment = /\/\/[^\n]*\n?|\/\*[^]*?(?:\*\/|$)/y;
const literals = /[bB]?"(?:[^"\\]|\\[^])*(?:"|\\?$)|[bB]?'(?:[^'\\]|\\[^])*(?:'|\\?$)|`[^`]*(?:`|$)/y;
const number = /(?:\d|\.\d)(?:[\p{L}\p{N}_$]|\.(?!\.))*/uy;
const name = /[\p{L}\p{N}_$]+(?:\.[\p{L}\p{N}_$]+)*/uy;
const sign = /&&|\|\||[=!<>]=|\.\.|[^]/uy;

const patterns: [Token["kind"], RegExp][] = [
  ["space", spaces],
  ["comment", comment],
  ["text", literals],
  ["number", number],
  ["name", name],
  ["sign", sign],
];

/** tokens splits a filter, whatever it is. */
export function tokens(text: string): Token[] {
  const all: Token[] = [];
  for (let at = 0; at < text.length;) {
    for (const [kind, pattern] of patterns) {
      pattern.lastIndex = at;
      const found = pattern.exec(text)?.[0];
      if (!found) continue;
      all.push({ kind, from: at, to: at + found.length, closed: closed(kind, found) });
      at += found.length;
      break;
    }
  }
  return all;
}

function closed(kind: Token["kind"], token: string): boolean {
  if (kind === "comment") return token.startsWith("//") || (token.length > 3 && token.endsWith("*/"));
  return kind !== "text" || unwrap(token).closed;
}

/** unwrap gives what is within the quotes of a literal, escapes as they stand, and whether the closing one is there. */
function unwrap(literal: string): { inner: string; quote: string; bytes: boolean; closed: boolean } {
  const bytes = /^b/i.test(literal);
  const body = bytes ? literal.slice(1) : literal;
  const quote = body[0]!;
  let at = 1;
  for (; at < body.length && body[at] !== quote; at++) if (body[at] === "\\" && quote !== "`") at++;
  return { inner: body.slice(1, at), quote, bytes, closed: at < body.length };
}

const escape = /\\([xX][\dA-Fa-f]{2}|u[\dA-Fa-f]{4}|u\{[\dA-Fa-f]{1,6}\}|U[\dA-Fa-f]{8}|[^]|$)/g;
const escapes: Record<string, string> = { a: "\x07", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t", v: "\v" };

/** unquote gives the text of a literal, which may lack its end. Bytes are given as documents have them, \xNN. */
export function unquote(literal: string): string {
  const { inner, quote, bytes } = unwrap(literal);
  if (quote === "`") return inner;
  return inner.replace(escape, (all: string, e: string) => {
    const hex = /^[xXuU]\{?([\dA-Fa-f]+)\}?$/.exec(e)?.[1];
    if (hex === undefined) return escapes[e] ?? e;
    const code = parseInt(hex, 16);
    if (bytes && code >= 0x80) return all.toLowerCase();
    return code > 0x10ffff ? "\ufffd" : String.fromCodePoint(code);
  });
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What doesn't show what it is, or turns the direction of what stands beside it, is written as an escape. */
const unseen = /["\\]|\p{C}|(?! )\p{Z}/gu;

/** quote writes a text of a document as a literal. */
export function quote(text: string): string {
  if (!/\\x[\da-f]{2}/.test(text)) return `"${escaped(text)}"`;
  const bytes = bytesOf(text);
  try {
    return `"${escaped(strict.decode(bytes))}"`;
  } catch {
    // "\xff" means the character U+00FF: bytes have a literal of their own.
    const hex = (b: number) => `\\x${b.toString(16).padStart(2, "0")}`;
    const written = Array.from(bytes, (b) =>
      b === 0x22 || b === 0x5c
        ? `\\${String.fromCharCode(b)}`
        : b >= 0x20 && b < 0x7f
          ? String.fromCharCode(b)
          : hex(b),
    );
    return `b"${written.join("")}"`;
  }
}

function escaped(text: string): string {
  return text.replace(unseen, (c) => {
    if (c === '"' || c === "\\") return `\\${c}`;
    if (/\p{Cs}/u.test(c)) return "\ufffd"; // half a character, as it is sent
    const code = c.codePointAt(0)!.toString(16);
    return code.length > 4 ? `\\U${code.padStart(8, "0")}` : `\\u${code.padStart(4, "0")}`;
  });
}

/** Units of durations, the largest first, and how many digits of nanoseconds each has. */
const units = [
  ["s", 9],
  ["ms", 6],
  ["us", 3],
  ["ns", 0],
] as const;

/** nanoseconds writes a duration exactly, in the largest unit that it has one of: 1.9002s. */
function nanoseconds(ns: number): string {
  const digits = BigInt(Math.round(Math.abs(ns))).toString();
  const [unit, fraction] = units.find(([, f]) => digits.length > f) ?? units[3];
  const whole = digits.slice(0, digits.length - fraction);
  const rest = digits.slice(digits.length - fraction).replace(/0+$/, "");
  return `${ns < 0 ? "-" : ""}${whole}${rest && `.${rest}`}${unit}`;
}

/** literal writes the value of a field. Durations are nanoseconds. */
export function literal(field: Pick<Field, "kind">, value: Exclude<Key, null>): string {
  if (typeof value === "number") return field.kind === "duration" ? nanoseconds(value) : String(value);
  if (typeof value === "boolean") return String(value);
  return quote(value);
}

/** Named is what of a field is needed to write about it. */
export type Named = Pick<Field, "kind" | "filter"> & Partial<Pick<Field, "aliases">>;

/** nameOf is how filters that people read write a field: by its short name, where it has one. */
export function nameOf(field: Named): string {
  return field.aliases?.[0] ?? field.filter;
}

/** clause writes the condition that a field has a value; null: that it has none. */
export function clause(field: Named, value: Key, exclude = false): string {
  const n = nameOf(field);
  if (value === null) return exclude ? `has(${n})` : `not has(${n})`;
  if (field.kind === "truth") return value !== exclude ? n : `not ${n}`;
  const c = field.kind === "list" ? `${quote(String(value))} in ${n}` : `${n} == ${literal(field, value)}`;
  // != is false where there is no value: what is excluded is only the value.
  return exclude ? `not (${c})` : c;
}

/** and joins two filters, either of which may be empty. A condition that is there already isn't added again. */
export function and(where: string, more: string): string {
  const [a, b] = [oneLine(where), oneLine(more)];
  if (!a || !b) return a || b;
  const have = topLevel(a, "and");
  const added = topLevel(b, "and").filter((part) => !have.includes(part));
  return [group(a), ...added.map(group)].join(" and ");
}

/** group puts parentheses around what has an or, which and would tear apart. */
function group(where: string): string {
  return topLevel(where, "or").length > 1 ? `(${where})` : where;
}

// Maps, since a filter may have any word, such as constructor.
const joiners = new Map<string, "and" | "or">(Object.entries({ and: "and", "&&": "and", or: "or", "||": "or" }));
const depths = new Map(Object.entries({ "(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1 }));

/**
 * topLevel gives the parts that a filter joins by and, or by or, outside of parentheses. Where there is an or, the ands
 * belong to its parts, and the whole is one part.
 */
export function topLevel(where: string, operator: "and" | "or"): string[] {
  const cuts: Token[] = [];
  let depth = 0;
  for (const t of tokens(where)) {
    if (t.kind !== "sign" && t.kind !== "name") continue;
    const word = where.slice(t.from, t.to);
    depth += depths.get(word) ?? 0;
    const joiner = depth === 0 ? joiners.get(word) : undefined;
    if (joiner === "or" && operator === "and") return [where.trim()];
    if (joiner === operator) cuts.push(t);
  }
  let begin = 0;
  const parts = cuts.map((t) => {
    const part = where.slice(begin, t.from).trim();
    begin = t.to;
    return part;
  });
  return [...parts, where.slice(begin).trim()];
}

/** oneLine writes a filter without line breaks, which an input and what is joined behind would lose: the same filter. */
export function oneLine(where: string): string {
  let out = "";
  for (const t of tokens(where)) {
    const token = where.slice(t.from, t.to);
    if (t.kind === "space") out += /[\r\n]/.test(token) ? " " : token;
    else if (t.kind === "comment" && token.startsWith("//"))
      out += `/* ${token.slice(2).trim().replaceAll("*/", "* /")} */ `;
    else if (t.kind === "comment") out += token.replace(/[\r\n]+/g, " ");
    else if (t.kind === "text" && t.closed && /[\r\n]/.test(token))
      out += `"${escaped(unwrap(token).inner.replace(/\r\n?/g, "\n"))}"`; // only `...` may have line breaks
    else out += token;
  }
  return out.trim();
}
