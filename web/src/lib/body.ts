// Bodies by their media type: how they are shown.

import { bytesOf, plain, sentLength } from "./captured";
import { field, list, number, text } from "./doc";
import { values, type Side } from "./headers";
import type { Doc } from "./types";

/** How a body is shown. */
export type Form = "json" | "form" | "image" | "text" | "parts" | "binary";

/** Media types, and how they are shown. What isn't here is text when it is text, and else binary. */
const forms: [RegExp, Form][] = [
  [/^application\/(json|problem\+json|manifest\+json|ld\+json)$|\+json$/, "json"],
  [/^application\/x-www-form-urlencoded$/, "form"],
  [/^multipart\//, "parts"],
  [/^image\/(png|jpeg|gif|webp|avif|bmp|x-icon|vnd\.microsoft\.icon|svg\+xml)$/, "image"],
  [/^(image|audio|video|font)\//, "binary"],
  [/^application\/(zip|gzip|pdf|wasm|octet-stream|x-protobuf|grpc)$/, "binary"],
];

export function formOf(mediaType: string): Form {
  return forms.find(([is]) => is.test(mediaType))?.[1] ?? "text";
}

/** Body is what is known of the body of a message. */
export interface Body {
  mediaType: string;
  form: Form;
  /** As documents hold it; "" when nothing is kept. */
  content: string;
  /** Bytes that were kept; of what the body was after its transfer coding, and decoded, where that is known. */
  kept: number;
  sent: number;
  decoded?: number;
  coding: string;
  /** All of it is there. */
  whole: boolean;
  parts: string[];
}

/** bodyOf reads the body of a message, or undefined when it has none. */
export function bodyOf(doc: Doc, side: Side): Body | undefined {
  const sent = number(doc, `http.${side}.body.bytes`) ?? 0;
  const content = text(doc, `http.${side}.body.content`);
  if (!sent && !content) return undefined;
  const mediaType = text(doc, `http.${side}.mime_type`);
  const decoded = number(doc, `culprit.http.${side}.decoded_bytes`);
  const kept = sentLength(content);
  const coding = values(field(doc, `http.${side}.headers`), "content-encoding").join(", ");
  return {
    mediaType,
    form: formOf(mediaType),
    content,
    kept,
    sent,
    decoded,
    coding: coding.toLowerCase() === "identity" ? "" : coding,
    // A number whose quotes redaction made is longer than what was sent.
    whole: content !== "" && decoded !== undefined && kept >= decoded,
    parts: list(doc, `culprit.http.${side}.parts`),
  };
}

/**
 * indent writes JSON with a line for each value. It doesn't read the values: numbers keep their digits, names that are
 * there twice stay, and what is cut off in the middle is shown up to there. What isn't JSON comes out as something that
 * isn't, but nothing is left out but spaces.
 */
export function indent(json: string): string {
  const out: string[] = [];
  let depth = 0;
  const line = () => out.push("\n", "  ".repeat(Math.min(depth, deepest)));
  for (let i = 0; i < json.length;) {
    const c = json[i]!;
    if (c === '"') {
      const end = stringEnd(json, i);
      out.push(json.slice(i, end));
      i = end;
      continue;
    }
    i++;
    if (c === "{" || c === "[") {
      const next = skip(json, i);
      if (json[next] === (c === "{" ? "}" : "]")) {
        out.push(c + json[next]!);
        i = next + 1;
        continue;
      }
      out.push(c);
      depth++;
      line();
    } else if (c === "}" || c === "]") {
      depth = Math.max(depth - 1, 0);
      line();
      out.push(c);
    } else if (c === ",") {
      out.push(c);
      line();
    } else if (c === ":") {
      out.push(": ");
    } else if (c === "\n" && depth === 0) {
      out.push(c); // one value a line (NDJSON)
    } else if (!/\s/.test(c)) {
      out.push(c);
    }
  }
  return out.join("");
}

/** Deeper values aren't moved further to the right. */
const deepest = 40;

function stringEnd(json: string, from: number): number {
  for (let i = from + 1; i < json.length; i++) {
    if (json[i] === "\\") i++;
    else if (json[i] === '"') return i + 1;
  }
  return json.length;
}

function skip(json: string, i: number): number {
  while (i < json.length && /\s/.test(json[i]!)) i++;
  return i;
}

/** fields takes a form or a query apart, and decodes it. What is malformed stays as it is. */
export function formFields(encoded: string): [name: string, value: string][] {
  return plain(encoded)
    .split("&")
    .filter((part) => part !== "")
    .map((part) => {
      const at = part.indexOf("=");
      return at < 0 ? [unescape(part), ""] : [unescape(part.slice(0, at)), unescape(part.slice(at + 1))];
    });
}

function unescape(s: string): string {
  try {
    return decodeURIComponent(s.replaceAll("+", " "));
  } catch {
    return s;
  }
}

/** How many bytes a line of a hex dump has. */
const perLine = 16;

/** hex writes bytes as hex dumps do: where, the bytes, and the characters of those that are ASCII. */
export function hex(bytes: Uint8Array, most = bytes.length): string {
  const lines: string[] = [];
  const end = Math.min(bytes.length, most);
  for (let at = 0; at < end; at += perLine) {
    const row = bytes.subarray(at, Math.min(at + perLine, end));
    const cells = Array.from({ length: perLine }, (_, i) =>
      i < row.length ? row[i]!.toString(16).padStart(2, "0") : "  ",
    );
    const characters = Array.from(row, (b) => (b >= 0x20 && b < 0x7f ? String.fromCharCode(b) : ".")).join("");
    lines.push(
      `${at.toString(16).padStart(8, "0")}  ${cells.slice(0, 8).join(" ")}  ${cells.slice(8).join(" ")}  ${characters}`,
    );
  }
  return lines.join("\n");
}

/** contentBytes are the bytes of a body, as they were kept. */
export function contentBytes(body: Body): Uint8Array<ArrayBuffer> {
  return bytesOf(body.content);
}
