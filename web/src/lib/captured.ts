// Captured text: what strangers sent. Documents hold it as UTF-8, with \xNN for the bytes that aren't, and with \x5c for
// a backslash that would otherwise look like the beginning of such a byte.

const escaped = /\\x([0-9a-f]{2})/g;

/** bytesOf gives the bytes that a captured text was. */
export function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  if (!text.includes("\\x")) return encoder.encode(text);
  const parts: Uint8Array[] = [];
  let from = 0;
  for (const m of text.matchAll(escaped)) {
    parts.push(encoder.encode(text.slice(from, m.index)), Uint8Array.of(parseInt(m[1]!, 16)));
    from = m.index + m[0].length;
  }
  parts.push(encoder.encode(text.slice(from)));
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}

/** plain undoes \x5c, so that a text without other escaped bytes is the text that was sent. */
export function plain(text: string): string {
  return text.replaceAll(/\\x5c(?=x[0-9a-f]{2})/g, "\\");
}

/** binary says that a text has bytes that aren't UTF-8, or control characters that texts don't have. */
export function binary(text: string): boolean {
  // eslint-disable-next-line no-control-regex
  return /\\x(?!5c)[0-9a-f]{2}|[\x00-\x08\x0e-\x1a\x1c-\x1f]/.test(text);
}

/** Characters that are seen as nothing, or that change how what is around them is seen. */
// eslint-disable-next-line no-control-regex
const unseen =
  /[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]|\udb40[\udc00-\udfff]/g;

/** visible makes a captured text safe to show: nothing in it steers how it, or what stands beside it, is shown. */
export function visible(text: string, lines = false): string {
  return text.replace(unseen, (c) => {
    const code = c.codePointAt(0)!;
    if (lines && (c === "\n" || c === "\t")) return c;
    if (lines && c === "\r") return "";
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    if (code === 0x7f) return "\u2421";
    return `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
  });
}

/** How many characters of a value are shown, until all of it is asked for. */
export const shownLength = 2_000;

/** cut shortens a long value, without tearing a character apart. */
export function cut(text: string, length = shownLength): string {
  if (text.length <= length) return text;
  const end = /[\ud800-\udbff]/.test(text[length - 1]!) ? length - 1 : length;
  return text.slice(0, end) + "…";
}

/** The mark that redaction leaves: how long the secret was in bytes, and its fingerprint. */
export const mark = /…\[redacted (\d+) #([0-9a-f]{4})\]/g;

/** sentLength is how many bytes a text had before its secrets were hidden. */
export function sentLength(text: string): number {
  let hidden = 0;
  const rest = text.replace(mark, (_, n: string) => {
    hidden += Number(n);
    return "";
  });
  return bytesOf(rest).length + hidden;
}

/** pieces takes a text apart at its hidden secrets. */
export function pieces(text: string): ({ text: string } | { secret: string; bytes: number })[] {
  const out: ({ text: string } | { secret: string; bytes: number })[] = [];
  let from = 0;
  for (const m of text.matchAll(mark)) {
    if (m.index > from) out.push({ text: text.slice(from, m.index) });
    out.push({ secret: m[2]!, bytes: Number(m[1]) });
    from = m.index + m[0].length;
  }
  if (from < text.length) out.push({ text: text.slice(from) });
  return out;
}
