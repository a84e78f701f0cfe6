// Writing exchange filters: docs/filter.md.

import type { Field, Key } from "./types";

/** quote writes a text as a literal. Bytes that aren't UTF-8, which documents have as \xNN, become a literal of bytes. */
export function quote(text: string): string {
  const raw = /\\x[0-9a-f]{2}/.test(text);
  let out = "";
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    const code = text.charCodeAt(i);
    if (raw && c === "\\" && /^\\x[0-9a-f]{2}/.test(text.slice(i, i + 4))) {
      out += text.slice(i, i + 4);
      i += 3;
    } else if (c === '"' || c === "\\") {
      out += "\\" + c;
    } else if (code < 0x20 || (code >= 0x7f && code < 0xa0) || code === 0x2028 || code === 0x2029) {
      out +=
        raw && code < 0x80 ? "\\x" + code.toString(16).padStart(2, "0") : "\\u" + code.toString(16).padStart(4, "0");
    } else {
      out += c;
    }
  }
  return raw ? `b"${out}"` : `"${out}"`;
}

/** literal writes the value of a field. Durations are nanoseconds. */
export function literal(field: Pick<Field, "kind">, value: Exclude<Key, null>): string {
  if (typeof value === "number") return field.kind === "duration" ? `${value}ns` : String(value);
  if (typeof value === "boolean") return String(value);
  return quote(value);
}

/** clause writes the condition that a field has a value; null: that it has none. */
export function clause(field: Pick<Field, "kind" | "filter">, value: Key, exclude = false): string {
  if (value === null) return exclude ? `has(${field.filter})` : `not has(${field.filter})`;
  if (field.kind === "bool") return value !== exclude ? field.filter : `not ${field.filter}`;
  if (field.kind === "list") {
    const c = `${quote(String(value))} in ${field.filter}`;
    return exclude ? `not (${c})` : c;
  }
  const c = `${field.filter} == ${literal(field, value)}`;
  // != is false where there is no value: what is excluded is only the value.
  return exclude ? `not (${c})` : c;
}

/** and joins two filters, either of which may be empty. A clause that is there already isn't added again. */
export function and(where: string, more: string): string {
  where = where.trim();
  more = more.trim();
  if (!where) return more;
  if (!more || where === more) return where;
  if (topLevel(where, "and").includes(more)) return where;
  return `${group(where)} and ${group(more)}`;
}

/** group puts parentheses around what has an or, which and would tear apart. A comment mustn't swallow what comes behind. */
function group(where: string): string {
  if (where.includes("//")) return `(${where}\n)`;
  return topLevel(where, "or").length > 1 ? `(${where})` : where;
}

/** without removes a clause that and() added. */
export function without(where: string, clause: string): string {
  return topLevel(where, "and")
    .filter((part) => part !== clause)
    .join(" and ");
}

/** topLevel splits a filter at an operator, where that isn't within parentheses, brackets or literals. */
export function topLevel(where: string, operator: "and" | "or"): string[] {
  const words = operator === "and" ? ["and", "&&"] : ["or", "||"];
  const parts: string[] = [];
  let depth = 0;
  let begin = 0;
  for (let i = 0; i < where.length; i++) {
    const c = where[i]!;
    if (c === '"' || c === "'" || c === "`") {
      for (i++; i < where.length && where[i] !== c; i++) if (where[i] === "\\" && c !== "`") i++;
      continue;
    }
    if ("([".includes(c)) depth++;
    if (")]".includes(c)) depth--;
    if (depth > 0) continue;
    for (const word of words) {
      const letters = /\w/.test(word);
      if (!where.startsWith(word, i)) continue;
      if (letters && (/[\w.]/.test(where[i - 1] ?? " ") || /[\w.]/.test(where[i + word.length] ?? " "))) continue;
      parts.push(where.slice(begin, i).trim());
      i += word.length - 1;
      begin = i + 1;
      break;
    }
  }
  parts.push(where.slice(begin).trim());
  return parts;
}
