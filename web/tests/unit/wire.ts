// Captured bytes as documents have them, written anew from what docs/api.md says, to test what reads them.

/** captured is the text in a document of these bytes. */
export function captured(bytes: Uint8Array): string {
  let out = "";
  for (let i = 0; i < bytes.length;) {
    const length = character(bytes, i);
    if (length === 0) {
      out += "\\x" + bytes[i]!.toString(16).padStart(2, "0");
      i++;
      continue;
    }
    const text = Buffer.from(bytes.subarray(i, i + length)).toString("utf8");
    const behind = Buffer.from(bytes.subarray(i + 1, i + 4)).toString("latin1");
    out += text === "\\" && /^x[0-9a-f]{2}/.test(behind) ? "\\x5c" : text;
    i += length;
  }
  return out;
}

/** character is the length of the UTF-8 that begins at i, 0 when none does. */
function character(bytes: Uint8Array, i: number): number {
  for (const length of [1, 2, 3, 4]) {
    const part = bytes.subarray(i, i + length);
    if (part.length < length) return 0;
    try {
      const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(part);
      return [...text].length === 1 ? length : 0;
    } catch {
      continue;
    }
  }
  return 0;
}

/** Numbers are pseudo-random numbers that are the same each time (mulberry32). */
export function numbers(seed: number): (below: number) => number {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below);
  };
}

const morsels = [
  "'",
  '"',
  "\\",
  "`",
  "$(touch /tmp/never)",
  "${HOME}",
  "!!",
  "#",
  " ",
  "\n",
  "\r",
  "\t",
  "\\x41",
  "\\xff",
  "\\x5cx41",
  "%s",
  "%b",
  "\\0101",
  "é",
  "漢",
  "🙂",
  "\u202e",
  "\u0085",
  "\u2028",
  "@file",
  "-o",
  "--",
  ";",
  "&",
  "|",
  "*",
  "~",
  "=",
  "..",
  "//",
  "<script>",
  "\x1b[31m",
  "\x07",
].map((s) => Buffer.from(s));

/** hostile makes bytes that quoting may get wrong, without byte 0. */
export function hostile(random: (below: number) => number, most = 24): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let n = random(most); n > 0; n--) {
    const pick = random(4);
    if (pick === 0) parts.push(Uint8Array.of(1 + random(255)));
    else if (pick === 1) parts.push(Buffer.from(String.fromCharCode(97 + random(26))));
    else parts.push(morsels[random(morsels.length)]!);
  }
  return Buffer.concat(parts);
}
