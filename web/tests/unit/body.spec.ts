import { expect, test } from "@playwright/test";
import { bodyOf, formFields, formOf, hex, indent } from "../../src/lib/body";
import { binary, bytesOf, cut, pieces, plain, sentLength, visible } from "../../src/lib/captured";
import { captured, hostile, numbers } from "./wire";

test("a captured text is the bytes that were sent", () => {
  const random = numbers(11);
  for (let i = 0; i < 2000; i++) {
    const bytes = hostile(random);
    expect(Buffer.from(bytesOf(captured(bytes))).toString("hex")).toBe(Buffer.from(bytes).toString("hex"));
  }
});

test("a text with backslashes is shown as it was sent", () => {
  for (const s of ["\\x41", "C:\\xab", "\\\\x41", "\\n", "a\\x4"]) expect(plain(captured(Buffer.from(s)))).toBe(s);
});

test("what can't be read as text is binary", () => {
  expect(binary(captured(Uint8Array.of(0xff)))).toBe(true);
  expect(binary("a\0b")).toBe(true);
  for (const s of ["a\r\n\tb", "é漢", "\x1b[0m", captured(Buffer.from("\\xff"))]) expect(binary(s), s).toBe(false);
});

test("nothing in what is shown steers how it is shown", () => {
  const s = visible("a\u202eb\u2066c\x07d\u200be\x1bf\ufefff\u{e0041}");
  expect(s).not.toMatch(/[\u202a-\u202e\u2066-\u2069\u200b\ufeff]|\udb40/);
  expect(s).toContain("⟨U+202E⟩");
  expect(s).toContain("␇");
  expect(visible("a\nb")).toBe("a␊b");
  expect(visible("a\r\nb\tc", true)).toBe("a\nb\tc");
  expect(visible("é漢🙂 plain")).toBe("é漢🙂 plain");
  expect(visible("\ud83dx")).not.toMatch(/[\ud800-\udfff]/);
});

test("a long text is cut between characters", () => {
  expect(cut("ab🙂cd", 3)).toBe("ab…");
  expect(cut("abc", 3)).toBe("abc");
});

test("hidden secrets are found, and count as what they were", () => {
  expect(pieces("Bearer …[redacted 15 #4f2a]; a")).toEqual([
    { text: "Bearer " },
    { secret: "4f2a", bytes: 15 },
    { text: "; a" },
  ]);
  expect(sentLength("k=…[redacted 7 #1a2b]&é")).toBe(2 + 7 + 1 + 2);
});

/** Everything but the spaces between values. */
function squeeze(json: string): string {
  return json.replace(/("(?:[^"\\]|\\.)*"?)|\s+/gs, (_, s: string | undefined) => s ?? "");
}

test("JSON is indented without being changed", () => {
  expect(indent('{"a":[1,{"b":[]}],"c":{}}')).toBe(
    '{\n  "a": [\n    1,\n    {\n      "b": []\n    }\n  ],\n  "c": {}\n}',
  );
  // Numbers beyond a double, names that are there twice, texts with brackets.
  const odd = '{"n":12345678901234567890.10,"a":1,"a":2,"t":"{[\\"x\\",:]}"}';
  expect(squeeze(indent(odd))).toBe(odd);
  const random = numbers(13);
  const make = (depth: number): unknown =>
    [
      () => random(1000) / 8,
      () => 'a,{}[]:"\\\n' + random(10),
      () => null,
      () => Array.from({ length: random(4) }, () => (depth > 0 ? make(depth - 1) : true)),
      () =>
        Object.fromEntries(Array.from({ length: random(4) }, (_, i) => ["k:" + i, depth > 0 ? make(depth - 1) : ""])),
    ][random(5)]!();
  for (let i = 0; i < 300; i++) {
    const value = make(5);
    expect(JSON.parse(indent(JSON.stringify(value)))).toEqual(value);
    expect(indent(indent(JSON.stringify(value)))).toBe(indent(JSON.stringify(value)));
    // Cut off anywhere, as bodies are.
    const json = JSON.stringify(value);
    const part = json.slice(0, random(json.length + 1));
    expect(squeeze(indent(part))).toBe(squeeze(part));
  }
});

test("JSON that nests without end stays small", () => {
  const deep = "[".repeat(50_000);
  expect(indent(deep).length).toBeLessThan(50_000 * 100);
});

test("a hex dump", () => {
  expect(hex(Buffer.from("Hello, world!\n\x00\xff", "latin1"))).toBe(
    "00000000  48 65 6c 6c 6f 2c 20 77  6f 72 6c 64 21 0a 00 ff  Hello, world!...",
  );
  const lines = hex(new Uint8Array(35)).split("\n");
  expect(lines.map((l) => l.slice(0, 8))).toEqual(["00000000", "00000010", "00000020"]);
  expect(lines[2]).toMatch(/^00000020 {2}00 00 00 {2,}\.\.\.$/);
  expect(hex(new Uint8Array(100), 16).split("\n")).toHaveLength(1);
});

test("a form's fields", () => {
  expect(formFields("a=1&b=x+y%20z&c&=d&e=%ff&&")).toEqual([
    ["a", "1"],
    ["b", "x y z"],
    ["c", ""],
    ["", "d"],
    ["e", "%ff"],
  ]);
});

test("media types", () => {
  const types: Record<string, string> = {
    "application/json": "json",
    "application/vnd.api+json": "json",
    "image/svg+xml": "image",
    "image/tiff": "binary",
    "text/html": "text",
    "": "text",
    "application/x-www-form-urlencoded": "form",
    "multipart/form-data": "parts",
  };
  for (const [type, form] of Object.entries(types)) expect(formOf(type), type).toBe(form);
});

test("how much of a body was kept", () => {
  const doc = (bytes: number, content?: string, decoded?: number) => ({
    http: {
      response: { body: { bytes, content }, mime_type: "text/plain", headers: { "content-encoding": ["gzip"] } },
    },
    culprit: { http: { response: { decoded_bytes: decoded } } },
  });
  expect(bodyOf(doc(0), "response")).toBeUndefined();
  expect(bodyOf(doc(10), "response")).toMatchObject({ whole: false, content: "", coding: "gzip" });
  expect(bodyOf(doc(10, "abc", 3), "response")).toMatchObject({ whole: true, kept: 3 });
  expect(bodyOf(doc(10, "abc"), "response")).toMatchObject({ whole: false });
  expect(bodyOf(doc(10, "a…[redacted 9 #ffff]", 10), "response")).toMatchObject({ whole: true, kept: 10 });
});
