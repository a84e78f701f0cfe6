// What may come next in a filter that is being written: situation() says what stands at the caret, suggest() what can be
// put there. The values of a field are the server's to tell: wanted() says what to ask it for.

import { literal, nameOf, tokens, unquote, type Token } from "./expr";
import type { CompleteAnswer, Field, Key } from "./types";

/** Situation is what is being written at the caret. */
export interface Situation {
  /** nothing: within a comment, behind a literal, or where only a sign can come. */
  kind: "field" | "operator" | "value" | "joiner" | "header" | "nothing";
  /** What of it is there before the caret, without quotes and escapes. */
  prefix: string;
  /** What a suggestion replaces. */
  from: number;
  to: number;
  /** Of an operator or a value: the field, as it is written. A header is called header, whatever its name. */
  field: string;
  /** Of a value, and of a field behind a value: how they are compared. cidr: as an argument of that. */
  operator: string;
  /** What is open here: a function by its name, "(", "[", or nothing. */
  within: string;
  /** The field is compared in lower case. */
  lower: boolean;
  /** Of an operator: a not stands before it. */
  negated: boolean;
}

const headers = ["header", "request_header", "response_header"];
const functions = ["has", "lower", "cidr", ...headers];
const comparisons = ["==", "!=", "<", "<=", ">", ">="];
const operators = [...comparisons, "contains", "startsWith", "endsWith", "matches", "in"];
const joiners = ["and", "or", "&&", "||"];
const negations = ["not", "!"];
/** Half of a sign, which is completed. */
const halves = ["=", "!", "&", "|"];
/** Signs that end a value that isn't in quotes. */
const ends = [...comparisons, ...halves, "&&", "||", "..", "(", ")", "[", "]", ","];

/** situation says what is being written at a place of a filter, which may be anything. */
export function situation(text: string, caret: number): Situation {
  const all = tokens(text);
  const r = new Reader();
  for (let i = 0; i < all.length && all[i]!.from < caret; i++) {
    const t = all[i]!;
    const word = text.slice(t.from, t.to);
    if (t.kind === "space") continue;
    if (t.kind === "comment") {
      const ended = word.startsWith("//") ? word.endsWith("\n") : t.closed;
      if (caret < t.to || !ended) return r.at("nothing", caret);
      continue;
    }
    if (r.state === "value" || r.state === "header") {
      const v = valueAt(text, all, i);
      if (v && caret <= v.to) return literalAt(r, text, all, v, caret);
      if (v) {
        r.state = r.state === "header" ? "done" : "joiner";
        i = v.last;
        continue;
      }
    } else if (caret <= t.to) {
      const half = halves.includes(word) && r.state !== "field";
      if (t.kind === "text") return r.at("nothing", caret);
      if (t.kind !== "sign" || half) return r.at(r.state, t.from, t.to, text.slice(t.from, caret));
    }
    r.take(t, word, text.slice(t.to).trimStart().startsWith("("));
  }
  return r.at(r.state, caret);
}

/** A literal, or a value without its quotes: what stands together. last is its last token. */
interface Value extends Token {
  last: number;
}

function valueAt(text: string, all: Token[], i: number): Value | undefined {
  const first = all[i]!;
  if (first.kind === "text") return { ...first, last: i };
  let last = i - 1;
  for (; last + 1 < all.length; last++) {
    const t = all[last + 1]!;
    if (["space", "comment", "text"].includes(t.kind) || ends.includes(text.slice(t.from, t.to))) break;
  }
  return last < i ? undefined : { ...first, to: all[last]!.to, last };
}

function literalAt(r: Reader, text: string, all: Token[], v: Value, caret: number): Situation {
  if (v.kind !== "text") return r.at(r.state, v.from, v.to, text.slice(v.from, caret));
  if (v.closed && caret === v.to) return r.at("nothing", caret);
  // While a closing quote is missing, it is that of the literal that is being written, and what follows isn't part of it.
  const odd = all.some((t) => t.kind === "text" && !t.closed);
  return r.at(r.state, v.from, odd ? caret : v.to, unquote(text.slice(v.from, caret)));
}

/** Reader knows what comes next, token by token. */
class Reader {
  /** done: the argument of a function is there. */
  state: Situation["kind"] | "done" = "field";
  #open: string[] = [];
  #called = "";
  #field = "";
  #operator = "";
  #lower = false;
  #negated = false;
  /** The value stands before its field. */
  #mirrored = false;

  at(state: Reader["state"], from: number, to = from, prefix = ""): Situation {
    return {
      kind: state === "done" ? "nothing" : state,
      prefix,
      from,
      to,
      field: this.#field,
      operator: this.#operator,
      within: this.#open.at(-1) ?? "",
      lower: this.#lower,
      negated: this.#negated,
    };
  }

  /** take reads a token; called: a parenthesis follows. */
  take(t: Token, word: string, called: boolean): void {
    if (word === "(") this.#enter();
    else if (word === ")" || word === "]") this.#leave();
    else if (joiners.includes(word)) this.#begin();
    else if (negations.includes(word)) this.#negated = this.state === "operator";
    else if (this.state === "field") this.#operand(t, word, called);
    else this.#go(word);
  }

  /** begin is in front of a condition. */
  #begin(): void {
    [this.state, this.#field, this.#operator] = ["field", "", ""];
    this.#lower = this.#negated = this.#mirrored = false;
  }

  #go(word: string): void {
    const open = this.#open.at(-1);
    const another = word === ".." || (word === "," && open === "[");
    if (this.state === "value" && word === "[") this.#open.push("[");
    else if (this.state === "joiner" && another) this.state = "value";
    else if (this.state === "done" && word === "," && open === "cidr") [this.state, this.#operator] = ["value", "cidr"];
    else if ((this.state === "operator" || this.state === "joiner") && operators.includes(word)) {
      // 200 <= status has its field behind; a second comparison, as in 200 <= status < 300, has a value.
      const fieldBehind = this.state === "operator" && this.#mirrored;
      [this.state, this.#operator] = [fieldBehind ? "field" : "value", word];
    }
  }

  #enter(): void {
    this.#open.push(this.#called || "(");
    this.state = headers.includes(this.#called) ? "header" : "field";
    if (this.state === "header") this.#field = "header";
    this.#called = "";
  }

  #leave(): void {
    const left = this.#open.pop() ?? "";
    const argument = ["lower", "has", "cidr"].includes(this.#open.at(-1) ?? "");
    if (left === "lower") this.#lower = true;
    if (left !== "lower" && !headers.includes(left)) this.state = "joiner";
    else this.state = argument ? "done" : this.#mirrored ? "joiner" : "operator";
  }

  #operand(t: Token, word: string, called: boolean): void {
    if (called && functions.includes(word)) this.#called = word;
    else if (t.kind === "name") {
      this.#field = word;
      this.state = functions.includes(this.#open.at(-1) ?? "") ? "done" : this.#mirrored ? "joiner" : "operator";
    } else if (t.kind !== "sign") [this.#mirrored, this.state] = [true, "operator"];
  }
}

/** Suggestion is something to put into a filter. */
export interface Suggestion {
  /** text and recent replace all; text is a text to look for, and no filter. */
  kind: "field" | "function" | "operator" | "value" | "joiner" | "text" | "clause" | "recent";
  /** What is put there. */
  insert: string;
  /** What is shown of it, and what it means. */
  label: string;
  detail: string;
  /** How many exchanges have the value. */
  count?: number;
}

/** Lookup finds a field by its name or an alias. */
export type Lookup = (name: string) => Field | undefined;

/** What is suggested first, before anything is written. */
const favourites = [
  "status",
  "method",
  "path",
  "route",
  "vhost",
  "duration",
  "client",
  "server",
  "service",
  "size",
  "type",
];

const functionTexts: [name: string, insert: string, detail: string][] = [
  ["not", "not (", "the opposite; not binds tighter than comparisons, hence the parenthesis"],
  ["has", "has(", "the field is there"],
  ["header", `header("`, "a header of the request or the response"],
  ["request_header", `request_header("`, "a header of the request"],
  ["response_header", `response_header("`, "a header of the response"],
  ["cidr", "cidr(", "an address is in a network"],
  ["lower", "lower(", "the text in lower case"],
];

const equal: [string, string][] = [
  ["==", "equals"],
  ["!=", "is there and differs"],
];
const order: [string, string][] = [
  [">=", "at least"],
  [">", "more than"],
  ["<=", "at most"],
  ["<", "less than"],
];
const parts: [string, string][] = [
  ["contains", "has the text within"],
  ["startsWith", "begins with"],
  ["endsWith", "ends with"],
  ["matches", "regular expression (RE2)"],
];

/** The operators of each kind of field, the likeliest first. */
const operatorTexts: Record<string, [string, string][]> = {
  text: [...equal, ...parts, ["in [", "one of a list"], ["not contains", "lacks the text"]],
  number: [...order.slice(0, 1), ...equal, ...order.slice(1), ["in ", "a range, such as 500..599, or a list"]],
  duration: [...order, ...equal, ["in ", "a range, such as 1s..2s"]],
  time: [...order, ["in ", "a range: from..to"]],
  address: [...equal, ["in [", "one of a list"]],
  list: [["contains", "has the element"], ...parts.slice(1), ["not contains", "lacks the element"]],
};

/** Headers that are asked for often. */
const headerNames = [
  ...[
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
  ],
  ...[
    "content-length",
    "content-type",
    "cookie",
    "etag",
    "forwarded",
    "host",
    "location",
    "origin",
    "range",
    "referer",
  ],
  ...[
    "retry-after",
    "server",
    "set-cookie",
    "traceparent",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
  ],
  ...["www-authenticate", "x-forwarded-for", "x-request-id"],
];

const durations = ["10ms", "100ms", "500ms", "1s", "2s", "5s", "10s", "1m"];
const sizes = ["1KiB", "10KiB", "100KiB", "1MiB", "10MiB", "100MiB", "1GiB"];

/** The most fields that are suggested. */
const maxFields = 30;

/** Told is what suggestions are made of. */
export interface Told {
  fields: Field[];
  of: Lookup;
  /** The answer to what wanted() asks for. */
  values?: CompleteAnswer["values"];
  /** Times that are at hand, as text: the ends of the range. */
  times?: { at: string; what: string }[];
}

/** suggest says what may stand there. */
export function suggest(s: Situation, told: Told): Suggestion[] {
  switch (s.kind) {
    case "field":
      return operands(s, told);
    case "operator":
      return told.of(s.field)?.kind === "truth" ? joining(s) : comparing(s, told);
    case "value":
      return values(s, told);
    case "joiner":
      return joining(s);
    case "header":
      return headerNames
        .filter((h) => h.startsWith(s.prefix.toLowerCase()))
        .map((h) => ({ kind: "value", insert: `"${h}") `, label: h, detail: "" }));
    case "nothing":
      return [];
  }
}

function operands(s: Situation, { fields, of }: Told): Suggestion[] {
  const found = begins(
    s.prefix,
    fields.filter((f) => fits(s, f)),
  );
  const shown =
    s.prefix || s.within ? found : [...favourites.flatMap((n) => of(n) ?? []).filter((f) => fits(s, f)), ...found];
  const suggestions = [...new Set(shown)].slice(0, maxFields).map((f): Suggestion => {
    // What was begun is completed: the short name, unless it is another.
    const begun = [...f.aliases, f.filter].find((n) => n.toLowerCase().startsWith(s.prefix.toLowerCase()));
    const name = begun ?? nameOf(f);
    const behind = functions.includes(s.within) ? (s.within === "cidr" ? `, "` : ") ") : " ";
    return { kind: "field", insert: name + behind, label: name, detail: f.meaning };
  });
  const called = functionTexts
    .filter(([name]) => name.startsWith(s.prefix) && allowed(s, name))
    .map(([name, insert, detail]): Suggestion => ({ kind: "function", insert, label: name, detail }));
  // Functions come first when one is being written.
  return s.prefix.length > 1 && called.length ? [...called, ...suggestions] : [...suggestions, ...called];
}

/** fits says whether a field can stand there. */
function fits(s: Situation, f: Field): boolean {
  if (s.within === "has") return true;
  if (s.within === "cidr") return f.kind === "address";
  if (s.within === "lower") return f.kind === "text" || f.kind === "list";
  if (s.operator) return s.operator === "in" ? f.kind === "list" : f.kind !== "list" && f.kind !== "headers";
  return f.kind !== "headers";
}

/** allowed says whether a function can stand there. */
function allowed(s: Situation, name: string): boolean {
  if (s.within === "has" || s.within === "lower") return headers.includes(name);
  return s.within !== "cidr" && !s.operator;
}

/** begins finds fields by how a name of theirs begins, then by how a part of one does, then by a word of their meaning. */
export function begins(prefix: string, fields: Field[]): Field[] {
  const p = prefix.toLowerCase();
  if (!p) return fields;
  const rank = (f: Field): number => {
    const names = [...f.aliases, f.filter].map((n) => n.toLowerCase());
    if (names.includes(p)) return 0;
    if (f.aliases.some((n) => n.startsWith(p))) return 1;
    if (names.some((n) => n.startsWith(p))) return 2;
    if (names.some((n) => n.includes(`.${p}`) || n.includes(`_${p}`))) return 3;
    return p.length > 2 &&
      f.meaning
        .toLowerCase()
        .split(/\W+/)
        .some((w) => w.startsWith(p))
      ? 4
      : 5;
  };
  const ranked = fields.map((f) => ({ f, rank: rank(f) })).filter((r) => r.rank < 5);
  return ranked.toSorted((a, b) => a.rank - b.rank).map((r) => r.f);
}

function comparing(s: Situation, { of }: Told): Suggestion[] {
  const kind = s.field === "header" ? "text" : (of(s.field)?.kind ?? "");
  return (operatorTexts[kind] ?? [])
    .filter(([o]) => !s.negated || /^[a-z]/.test(o.replace("not ", "-")))
    .filter(([o]) => o.startsWith(s.prefix) || o.startsWith(`not ${s.prefix}`))
    .map(([o, detail]) => ({ kind: "operator", insert: /[ [(]$/.test(o) ? o : `${o} `, label: o.trim(), detail }));
}

function joining(s: Situation): Suggestion[] {
  if (s.within === "[") return [{ kind: "joiner", insert: "] ", label: "]", detail: "the end of the list" }];
  const words: [string, string][] = [
    ["and", "both"],
    ["or", "one of both"],
  ];
  if (s.within === "(") words.unshift([")", "the end of the parenthesis"]);
  return words
    .filter(([word]) => word.startsWith(s.prefix) || /^[&|]/.test(s.prefix))
    .map(([word, detail]) => ({ kind: "joiner", insert: `${word} `, label: word, detail }));
}

/** Wanted is a question about the values of a field. networks: it is about the networks of addresses. */
export interface Wanted {
  field: string;
  prefix: string;
  networks: boolean;
}

/** wanted says which values of a field to ask for; undefined: none help. */
export function wanted(s: Situation, of: Lookup): Wanted | undefined {
  if (s.kind !== "value") return undefined;
  const f = of(s.field);
  if (!f?.groupable || f.unit !== "" || !["text", "list", "address", "number"].includes(f.kind)) return undefined;
  const whole =
    ["==", "!=", "in", "startsWith", "cidr"].includes(s.operator) || (s.operator === "contains" && f.kind === "list");
  const ordered = f.kind === "number" && comparisons.includes(s.operator);
  if (!whole && !ordered) return undefined;
  return { field: f.name, prefix: s.prefix, networks: s.operator === "cidr" };
}

function values(s: Situation, { of, values = [], times = [] }: Told): Suggestion[] {
  const f = of(s.field);
  if (!f) return [];
  const behind = s.within === "[" ? "" : s.within === "cidr" ? ") " : " ";
  const fixed = (all: string[], detail: string): Suggestion[] =>
    all
      .filter((v) => v.toLowerCase().startsWith(s.prefix.toLowerCase()))
      .map((v) => ({ kind: "value", insert: v + behind, label: v, detail }));
  if (f.kind === "duration") return fixed(durations, "");
  if (f.unit === "byte") return fixed(sizes, "");
  if (f.kind === "time")
    return times
      .filter((t) => t.at.startsWith(s.prefix))
      .map((t) => ({ kind: "value", insert: literal(f, t.at) + behind, label: t.at, detail: t.what }));
  return values
    .filter((v) => v.value !== null)
    .map(({ value, count }): Suggestion => {
      const v = s.lower && typeof value === "string" ? asciiLower(value) : (value as Exclude<Key, null>);
      return { kind: "value", insert: literal(f, v) + behind, label: String(v), detail: "", count };
    });
}

function asciiLower(text: string): string {
  return text.replace(/[A-Z]/g, (c) => c.toLowerCase());
}

/** plain says whether what is written isn't meant as a filter: words, a path, an address, a pasted id. */
export function plain(text: string, of: Lookup): boolean {
  const all = tokens(text).filter((t) => t.kind !== "space");
  const word = (t: Token | undefined) => (t ? text.slice(t.from, t.to) : "");
  if (all.length === 0) return false;
  if (/^\s*\/(?![/*])/.test(text)) return true; // no filter begins so
  // A field, and the beginning of an operator behind it.
  const second = word(all[1]);
  const begun = of(word(all[0])) !== undefined && /^\s*\S+\s/.test(text);
  if (begun && [...operators, ...negations, ...halves].some((o) => o.startsWith(second))) return false;
  const filter = all.some((t, i) => {
    const w = word(t);
    if (t.kind === "text" || t.kind === "comment") return true;
    if (functions.includes(w) && word(all[i + 1]) === "(") return true;
    // Base64 ends with signs, too.
    if (comparisons.includes(w)) return i + 1 < all.length || of(word(all[i - 1])) !== undefined;
    return operators.includes(w) && i > 0 && of(word(all[i - 1])) !== undefined;
  });
  return !filter && !all.some((t) => of(word(t))?.kind === "truth");
}

/** looksLike are the filters that a plain text could stand for. */
export function looksLike(text: string, of: Lookup): Suggestion[] {
  const shapes: [RegExp, string, string][] = [
    [/^\d{1,3}(\.\d{1,3}){3}$|^[\da-f]*:[\da-f:.]+$/i, "client", "=="],
    [/^\d{1,3}(\.\d{1,3}){3}$|^[\da-f]*:[\da-f:.]+$/i, "server", "=="],
    [/^[\da-f]{32}$/, "trace", "=="],
    [/^[\dA-HJKMNP-TV-Z]{26}$/, "id", "=="],
    [/^\/\S*$/, "path", "startsWith"],
    [/^[1-5]\d\d$/, "status", "=="],
  ];
  return shapes.flatMap(([shape, name, operator]): Suggestion[] => {
    const f = of(name);
    if (!f || !shape.test(text)) return [];
    const value = f.kind === "number" ? text : `"${text.replace(/["\\]/g, "\\$&")}"`;
    const insert = `${nameOf(f)} ${operator} ${value}`;
    return [{ kind: "clause", insert, label: insert, detail: f.meaning }];
  });
}

/** accept puts a suggestion into the text, and says where the caret is then. */
export function accept(text: string, s: Situation, { insert }: Suggestion): { text: string; caret: number } {
  const before = text.slice(0, s.from);
  let behind = text.slice(s.to);
  // What was already there isn't put there again.
  if (insert.endsWith(" ")) behind = behind.replace(/^ /, "");
  if (insert.endsWith(") ")) behind = behind.replace(/^"?\s*\)\s*/, "");
  const gap = /[\p{L}\p{N}"']$/u.test(before) && s.kind !== "value" ? " " : "";
  return { text: before + gap + insert + behind, caret: before.length + gap.length + insert.length };
}

/** place turns a place in bytes of UTF-8 into one in the text. */
export function place(text: string, bytes: number): number {
  let at = 0;
  for (const c of text) {
    const code = c.codePointAt(0)!;
    bytes -= code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    if (bytes < 0) break;
    at += c.length;
  }
  return at;
}
