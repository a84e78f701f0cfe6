// Random things that are the same each time.

/** Random is a small generator of pseudo-random numbers (mulberry32), good enough to make inputs. */
export class Random {
  constructor(private state: number) {}

  /** below gives a whole number from 0 to n, without n. */
  below(n: number): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  }

  of<T>(all: readonly T[]): T {
    return all[this.below(all.length)]!;
  }
}

const alphabet = [
  ..."abcXYZ019 _-./:?&=+%#@,;()[]{}<>|!*~^$",
  ...['"', "'", "`", "\\", "\\x", "\\x41", "\\xff", "\\x5c", "\\u0041", "\\n", "//", "/*", "*/", "and", " or ", "not "],
  ...["\0", "\t", "\n", "\r", "\x1b", "\x7f", "\x85", "\u00a0", "\u2028", "\u202e", "\u2066", "\ufeff", "\u200b"],
  ...["é", "ß", "日本", "\u0301", "😀", "\u{10ffff}", "<script>", "</script>", "<img src=x onerror=alert(1)>"],
];

/** hostileText makes a text of what parsers stumble over. */
export function hostileText(random: Random, longest = 12): string {
  return Array.from({ length: random.below(longest) }, () => random.of(alphabet)).join("");
}
