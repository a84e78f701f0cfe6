import { expect, test } from "@playwright/test";
import { and, clause, nameOf, oneLine, quote, tokens, topLevel, unquote } from "../../src/lib/expr";
import type { Field, FilterAnswer, Key } from "../../src/lib/types";
import { Serving } from "../serving";
import { hostileText, Random } from "./random";

test("quote", () => {
  const quoted: [string, string][] = [
    ["GET", `"GET"`],
    [`a"b\\c`, `"a\\"b\\\\c"`],
    ["é😀", `"é😀"`],
    ["\n\u202e\u2028\u00a0", `"\\u000a\\u202e\\u2028\\u00a0"`],
    ["\u{e0001}", `"\\U000e0001"`],
    ["\\xff<", `b"\\xff<"`], // what documents have for a byte that isn't UTF-8
    ['\\xffé"\\n', `b"\\xff\\xc3\\xa9\\"\\\\n"`],
    ["\\x5cxff", `"\\\\xff"`], // and for a backslash that would look like one
    ["\\xzz", `"\\\\xzz"`],
  ];
  for (const [text, literal] of quoted) expect(quote(text)).toBe(literal);
});

test("unquote gives back what quote wrote", () => {
  const random = new Random(1);
  const wrong: string[] = [];
  for (let i = 0; i < 5_000; i++) {
    const text = hostileText(random);
    if (!/\\x[\da-f]{2}/.test(text) && unquote(quote(text)) !== text) wrong.push(text);
  }
  expect(wrong).toEqual([]);
});

test("unquote of literals that have no end", () => {
  expect(unquote(`"GE`)).toBe("GE");
  expect(unquote(`"`)).toBe("");
  expect(unquote(`'a\\'b`)).toBe("a'b");
  expect(unquote(`"a\\`)).toBe("a");
  expect(unquote("`a\\")).toBe("a\\");
  expect(unquote(`b"\\xff`)).toBe("\\xff");
  expect(unquote(`"\\u{1f600}\\U0001F600\\x41\\uffff1"`)).toBe("😀😀A\uffff1");
});

test("tokens are the whole text, whatever it is", () => {
  const random = new Random(2);
  const wrong: string[] = [];
  for (let i = 0; i < 5_000; i++) {
    const text = hostileText(random, 30);
    const all = tokens(text);
    if (all.map((t) => text.slice(t.from, t.to)).join("") !== text || all.some((t) => t.from >= t.to)) wrong.push(text);
  }
  expect(wrong).toEqual([]);
});

test("tokens", () => {
  const kinds = (text: string) =>
    tokens(text).map((t) => `${t.kind} ${text.slice(t.from, t.to)}${t.closed ? "" : " ..."}`);
  expect(kinds("status>=500")).toEqual(["name status", "sign >=", "number 500"]);
  expect(kinds("1.5s..2m")).toEqual(["number 1.5s", "sign ..", "number 2m"]);
  expect(kinds(`b"\\"" "a`)).toEqual([`text b"\\""`, "space  ", `text "a ...`]);
  expect(kinds("a/*x")).toEqual(["name a", "comment /*x ..."]);
  expect(kinds("/*/")).toEqual(["comment /*/ ..."]);
});

test("topLevel", () => {
  expect(topLevel("a and b && c", "and")).toEqual(["a", "b", "c"]);
  expect(topLevel("a and b or c", "and")).toEqual(["a and b or c"]);
  expect(topLevel("a and b or c", "or")).toEqual(["a and b", "c"]);
  expect(topLevel(`(a or b) and path == " or " and has(x)`, "or")).toHaveLength(1);
  expect(topLevel(`x in ["a", "b"] and y`, "and")).toEqual([`x in ["a", "b"]`, "y"]);
  expect(topLevel("brand == 1 /* or */ and x.and", "and")).toEqual(["brand == 1 /* or */", "x.and"]);
});

test("and", () => {
  expect(and("", "a")).toBe("a");
  expect(and("a", "")).toBe("a");
  expect(and("a", "a")).toBe("a");
  expect(and("a and b", "b")).toBe("a and b");
  expect(and("a and b or c", "a")).toBe("(a and b or c) and a");
  expect(and("a", "b and a and c")).toBe("a and b and c");
  expect(and("a // b", "c")).toBe("a /* b */ and c");
});

test("oneLine", () => {
  expect(oneLine("a and\nb")).toBe("a and b");
  expect(oneLine("a // and */ b\nand c")).toBe("a /* and * / b */ and c");
  expect(oneLine("path == `a\nb`")).toBe(`path == "a\\u000ab"`);
  expect(oneLine(`path == "//"`)).toBe(`path == "//"`);
});

test("short names", () => {
  expect(nameOf({ kind: "number", filter: "http.response.status_code", aliases: ["status"] })).toBe("status");
  const duration = { kind: "duration", filter: "duration" };
  expect(clause(duration, 1_900_200_000)).toBe("duration == 1.9002s");
  expect(clause(duration, 0)).toBe("duration == 0ns");
  expect(clause(duration, 1_000)).toBe("duration == 1us");
  expect(clause(duration, 999)).toBe("duration == 999ns");
});

test.describe("as culprit reads it", () => {
  let culprit: Serving;
  let fields: Field[];

  test.beforeAll(async () => {
    culprit = await Serving.start([]);
    ({ fields } = await culprit.get<{ fields: Field[] }>("/api/fields"));
  });
  test.afterAll(() => culprit.stop());

  /** canonical asks what culprit understands: the error, when it is none. */
  async function canonical(where: string): Promise<string> {
    const answer = await culprit.get<FilterAnswer>(`/api/filter?${new URLSearchParams({ where })}`);
    return answer.error ? `${answer.error.message} at ${answer.error.position} of ${where}` : answer.canonical;
  }

  /** same collects those of which culprit doesn't understand what is expected. */
  async function same(asked: [where: string, canonical: (asked: string) => string | Promise<string>][]): Promise<void> {
    const wrong: { where: string; is: string; shouldBe: string }[] = [];
    for (const [where, expected] of asked) {
      const is = await canonical(where);
      const shouldBe = await expected(is);
      if (is !== shouldBe) wrong.push({ where, is, shouldBe });
    }
    expect(wrong).toEqual([]);
  }

  /** goQuote is how culprit writes a text of the API: Go's strconv.Quote, or a literal of bytes. */
  function goQuote(text: string): string {
    const bytes = Buffer.concat(
      text.split(/(\\x[0-9a-f]{2})/).map((p, i) => (i % 2 ? Buffer.from(p.slice(2), "hex") : Buffer.from(p))),
    );
    const named: Record<string, string> = {
      "\x07": "a",
      "\b": "b",
      "\f": "f",
      "\n": "n",
      "\r": "r",
      "\t": "t",
      "\v": "v",
    };
    if (!bytes.equals(Buffer.from(bytes.toString("utf8")))) {
      const one = (b: number) =>
        b === 0x22 || b === 0x5c
          ? `\\${String.fromCharCode(b)}`
          : b >= 0x20 && b < 0x7f
            ? String.fromCharCode(b)
            : `\\x${b.toString(16).padStart(2, "0")}`;
      return `b"${Array.from(bytes, one).join("")}"`;
    }
    const written = Array.from(bytes.toString("utf8"), (c) => {
      const code = c.codePointAt(0)!;
      if (c === '"' || c === "\\") return `\\${c}`;
      if (named[c]) return `\\${named[c]}`;
      if (code < 0x20 || code === 0x7f) return `\\x${code.toString(16).padStart(2, "0")}`;
      if (c === " " || !/[\p{C}\p{Z}]/u.test(c)) return c;
      return code > 0xffff ? `\\U${code.toString(16).padStart(8, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
    });
    return `"${written.join("")}"`;
  }

  test("texts keep their bytes", async () => {
    const random = new Random(3);
    const texts = Array.from({ length: 2_000 }, () => hostileText(random));
    await same(
      texts.map((text) => [clause({ kind: "text", filter: "url.path" }, text), () => `url.path == ${goQuote(text)}`]),
    );
  });

  /** value makes a value that a field could have in an answer. */
  function value(random: Random, kind: string): Exclude<Key, null> {
    const number = random.below(2 ** 31) * (random.below(3) ? 1 : random.below(1000));
    switch (kind) {
      case "number":
        return random.below(5) ? number : number / 8;
      case "duration":
        return number;
      case "truth":
        return true;
      case "time":
        return new Date(random.below(2 ** 31) * 1000).toISOString().replace("Z", "123456Z");
      case "address":
        return random.below(2) ? `10.${random.below(256)}.0.7` : `2001:db8::${(1 + random.below(65535)).toString(16)}`;
    }
    return hostileText(random);
  }

  test("the condition of each field and value is right", async () => {
    const random = new Random(4);
    const asked = fields.filter((f) => f.kind !== "headers");
    expect(asked.length).toBeGreaterThan(100);
    for (const f of asked) {
      const values = Array.from({ length: 6 }, () => value(random, f.kind));
      const meaning = (v: Exclude<Key, null>, is: string): string | Promise<string> => {
        if (f.kind === "truth") return f.filter;
        if (f.kind === "list") return `${f.filter} contains ${goQuote(String(v))}`;
        if (f.kind === "duration") return canonical(`${f.filter} == ${v}ns`);
        const written = is.slice(`${f.filter} == `.length); // numbers may be written in several ways
        if (f.kind === "number") return `${f.filter} == ${Number(written) === v ? written : v}`;
        if (f.kind === "time") return `${f.filter} == "${String(v).replace(/0+Z$/, "Z")}"`;
        return `${f.filter} == ${goQuote(String(v))}`;
      };
      await same([
        [clause(f, null), () => `not has(${f.filter})`],
        [clause(f, null, true), () => `has(${f.filter})`],
        ...values.map((v) => [clause(f, v), (is: string) => meaning(v, is)] as [string, (is: string) => string]),
        ...values.map(
          (v) => [clause(f, v, true), () => canonical(`not (${clause(f, v)})`)] as [string, () => Promise<string>],
        ),
      ]);
    }
  });

  test("and keeps the meaning of both", async () => {
    const random = new Random(5);
    const texts = fields.filter((f) => f.kind === "text");
    const condition = () => clause(random.of(texts), hostileText(random, 5), random.below(2) === 0);
    const part = () => (random.below(4) ? condition() : `(${condition()} or ${condition()})`);
    const blank = () => random.of([" ", "\n", " /* ( or */ ", ` // [ or '"\n`]);
    const filter = (): string =>
      Array.from({ length: 1 + random.below(4) }, part).reduce(
        (all, c) => `${all}${blank()}${random.of(["and", "or", "&&", "||"])}${blank()}${c}`,
      );
    const asked: [string, () => string | Promise<string>][] = [];
    let alternatives = 0;
    for (let i = 0; i < 700; i++) {
      const [a, b] = [filter(), filter()];
      if (Buffer.byteLength(a + b) > 3_500) continue;
      if (topLevel(a, "or").length > 1) alternatives++;
      asked.push([and(a, b), () => canonical(`(${a}\n) and (${b}\n)`)], [oneLine(a), () => canonical(a)]);
    }
    expect(alternatives).toBeGreaterThan(100);
    expect(asked.filter(([where]) => where.includes("\n"))).toEqual([]);
    await same(asked);
  });
});
