import { expect, test } from "@playwright/test";
import {
  accept,
  begins,
  looksLike,
  place,
  plain,
  situation,
  suggest,
  wanted,
  type Situation,
} from "../../src/lib/complete";
import type { Field, FilterAnswer } from "../../src/lib/types";
import { Serving } from "../serving";
import { hostileText, Random } from "./random";

/** at reads a situation at the bar: "status | 5". */
function at(marked: string): Situation {
  const caret = marked.indexOf("|");
  return situation(marked.slice(0, caret) + marked.slice(caret + 1), caret);
}

/** brief says a situation in a line: kind, [what is replaced], prefix, and the field and operator of values. */
function brief(marked: string): string {
  const s = at(marked);
  const text = marked.replace("|", "");
  const about =
    s.kind === "value" || s.kind === "operator" ? ` of ${s.field}${s.kind === "value" ? ` ${s.operator}` : ""}` : "";
  return `${s.kind} [${text.slice(s.from, s.to)}] ${s.prefix}${about}`.replace(/ +/g, " ").trim();
}

const situations: [string, string][] = [
  ["|", "field []"],
  ["  |", "field []"],
  ["sta|", "field [sta] sta"],
  ["sta|tus", "field [status] sta"],
  ["http.resp|", "field [http.resp] http.resp"],
  ["not |", "field []"],
  ["!|", "field []"],
  ["(|", "field []"],
  ["(a|", "field [a] a"],
  ["status |", "operator [] of status"],
  ["status =|", "operator [=] = of status"],
  ["path sta|", "operator [sta] sta of path"],
  ["path not con|", "operator [con] con of path"],
  ["status >=|", "value [] of status >="],
  ["status >= |", "value [] of status >="],
  ["status >= 5|", "value [5] 5 of status >="],
  ["status >= 5|00", "value [500] 5 of status >="],
  ["status >= 500 |", "joiner []"],
  ["status >= 500 a|", "joiner [a] a"],
  ["status >= 500 &|", "joiner [&] &"],
  ["status >= 500 and |", "field []"],
  ["status >= 500 and meth|", "field [meth] meth"],
  ["status >= 500 && (meth|", "field [meth] meth"],
  [`method == "|`, `value ["] of method ==`],
  [`method == "GE|`, `value ["GE] GE of method ==`],
  [`method == "G|E"`, `value ["GE"] G of method ==`],
  [`method == "GET"|`, "nothing []"],
  [`method == "GET" |`, "joiner []"],
  [`method == GE|`, "value [GE] GE of method =="],
  [`path == /api/or|`, "value [/api/or] /api/or of path =="],
  [`path == "a\\"b|`, `value ["a\\"b] a"b of path ==`],
  [`path == 'a"b|'`, `value ['a"b'] a"b of path ==`],
  [`client == 2001:db8::|`, "value [2001:db8::] 2001:db8:: of client =="],
  // While a quote is missing, what comes behind isn't taken away.
  [`method == "GE| and status == 200`, `value ["GE] GE of method ==`],
  [`method == "GE| and path == "/x"`, `value ["GE] GE of method ==`],
  [`method == "GE|" and path == "/x"`, `value ["GE"] GE of method ==`],
  [`status in [|`, "value [] of status in"],
  [`status in [500, |`, "value [] of status in"],
  [`status in [500, 5|]`, "value [5] 5 of status in"],
  [`status in [500 |`, "joiner []"],
  [`status in [500]|`, "joiner []"],
  [`status in 500..|`, "value [] of status in"],
  [`status in 500..59|`, "value [59] 59 of status in"],
  [`path startsWith |`, "value [] of path startsWith"],
  [`path startsWith "/api|`, `value ["/api] /api of path startsWith`],
  [`has(|`, "field []"],
  [`has(sta|`, "field [sta] sta"],
  [`has(status|)`, "field [status] status"],
  [`has(status)|`, "joiner []"],
  [`has(status |`, "nothing []"],
  [`header(|`, "header []"],
  [`header("us|`, `header ["us] us`],
  [`header("us|")`, `header ["us"] us`],
  [`header("user-agent")|`, "operator [] of header"],
  [`header("user-agent") contains "c|`, `value ["c] c of header contains`],
  [`lower(path) == "|`, `value ["] of path ==`],
  [`lower(header("x")) |`, "operator [] of header"],
  [`cidr(|`, "field []"],
  [`cidr(client, "|`, `value ["] of client cidr`],
  [`cidr(client, "10.0.0.0/8") |`, "joiner []"],
  [`(status == 500 or has(vhost)) |`, "joiner []"],
  [`"obs-fold" in |`, "field []"],
  [`"obs-fold" in anomalies |`, "joiner []"],
  [`200 <= status |`, "joiner []"],
  [`200 <= status < |`, "value [] of status <"],
  [`status /* == | */`, "nothing []"],
  [`status // |`, "nothing []"],
  [`status // x\n|`, "operator [] of status"],
  [`status == 500 and/* or */|`, "field []"],
  [`) |`, "joiner []"],
  [`== |`, "field []"],
];

for (const [marked, expected] of situations) {
  test(`situation ${JSON.stringify(marked)}`, () => expect(brief(marked)).toBe(expected));
}

test("situations of anything", () => {
  const random = new Random(6);
  const wrong: string[] = [];
  for (let i = 0; i < 3_000; i++) {
    const text = random.of(["", "status ", "path == ", "header(", "x in ["]) + hostileText(random, 15);
    const caret = random.below(text.length + 1);
    const s = situation(text, caret);
    if (!(0 <= s.from && s.from <= caret && caret <= s.to && s.to <= text.length)) wrong.push(`${caret} of ${text}`);
  }
  expect(wrong).toEqual([]);
});

test("place turns bytes into characters", () => {
  expect(place("abc", 1)).toBe(1);
  expect(place("é=x", 2)).toBe(1);
  expect(place("日本x", 6)).toBe(2);
  expect(place("😀x", 4)).toBe(2);
  expect(place("ab", 2)).toBe(2);
  expect(place("ab", 99)).toBe(2);
});

test.describe("with the fields that culprit has", () => {
  let culprit: Serving;
  let fields: Field[];
  const of = (name: string) => fields.find((f) => [f.name, f.filter, ...f.aliases].includes(name));

  test.beforeAll(async () => {
    culprit = await Serving.start([]);
    ({ fields } = await culprit.get<{ fields: Field[] }>("/api/fields"));
  });
  test.afterAll(() => culprit.stop());

  const labels = (marked: string) => suggest(at(marked), { fields, of }).map((s) => s.label);

  test("fields", () => {
    expect(labels("|").slice(0, 3)).toEqual(["status", "method", "path"]);
    expect(labels("sta|")[0]).toBe("status");
    expect(labels("dura|")).toContain("duration");
    expect(labels("http.response.st|")[0]).toBe("http.response.status_code");
    expect(labels("has(http.request.h|")).toContain("http.request.headers");
    expect(labels("http.request.h|")).not.toContain("http.request.headers"); // only has() takes it
    expect(labels("cidr(c|")).toEqual(expect.arrayContaining(["client"]));
    expect(labels("cidr(c|")).not.toContain("country");
    expect(labels("hea|")[0]).toBe("header");
    expect(labels(`"obs-fold" in a|`)).toContain("anomalies");
    expect(labels(`"obs-fold" in a|`)).not.toContain("as");
    expect(begins("redact", fields).map((f) => f.name)).toContain("culprit.secrets"); // by its meaning
  });

  test("operators suit the kind", () => {
    expect(labels("status |")).not.toContain("contains");
    expect(labels("status |")).toContain(">=");
    expect(labels("path |")).toContain("startsWith");
    expect(labels("path |")).not.toContain(">=");
    expect(labels("client |")).toEqual(["==", "!=", "in ["]);
    expect(labels("culprit.stream |")).toEqual(["and", "or"]);
    expect(labels("path not |")).toEqual(["contains", "startsWith", "endsWith", "matches", "in ["]);
    expect(labels("(has(path) |")).toEqual([")", "and", "or"]);
  });

  test("values to ask for", () => {
    const asked = (marked: string) => wanted(at(marked), of);
    expect(asked(`method == "G|`)).toEqual({ field: "http.request.method", prefix: "G", networks: false });
    expect(asked("status in [5|")).toEqual({ field: "http.response.status_code", prefix: "5", networks: false });
    expect(asked(`cidr(client, "10|`)).toEqual({ field: "client.ip", prefix: "10", networks: true });
    expect(asked("duration > |")).toBeUndefined();
    expect(asked("path endsWith |")).toBeUndefined();
    expect(asked("nonsense == |")).toBeUndefined();
    expect(labels("duration > 1|")).toEqual(["10ms", "100ms", "1s", "10s", "1m"]);
    expect(labels("size > 1|")).toContain("1MiB");
  });

  test("plain words are told from filters", () => {
    const words = [
      "report",
      "/api/orders",
      "10.0.0.7",
      "stat",
      "a=b&c=d",
      "YWJjZA==",
      "cart and checkout",
      "x-y_z?q=1",
    ];
    expect(words.filter((w) => !plain(w, of))).toEqual([]);
    const filters = [
      "status == 500",
      "stauts >= 5",
      "has(x)",
      `"x"`,
      "culprit.stream",
      "status ==",
      "path contains",
      "",
    ];
    expect(filters.filter((w) => plain(w, of))).toEqual([]);
  });

  test("what plain words could stand for", async () => {
    const clauses = (text: string) => looksLike(text, of).map((s) => s.insert);
    expect(clauses("10.0.0.7")).toEqual([`client == "10.0.0.7"`, `server == "10.0.0.7"`]);
    expect(clauses("2001:db8::7")[0]).toBe(`client == "2001:db8::7"`);
    expect(clauses("4bf92f3577b34da6a3ce929d0e0e4736")).toEqual([`trace == "4bf92f3577b34da6a3ce929d0e0e4736"`]);
    expect(clauses(`/a"b`)).toEqual([`path startsWith "/a\\"b"`]);
    expect(clauses("503")).toEqual(["status == 503"]);
    expect(clauses("report")).toEqual([]);
  });

  test("accept", () => {
    const take = (marked: string, label: string) => {
      const s = at(marked);
      const values = [
        { value: "GET", count: 1 },
        { value: `a"b`, count: 1 },
        { value: 500, count: 1 },
      ];
      const all = suggest(s, { fields, of, values });
      const chosen = all.find((c) => c.label === label);
      if (!chosen) throw new Error(`${label} isn't among ${all.map((c) => c.label).join()}`);
      const { text, caret } = accept(marked.replace("|", ""), s, chosen);
      return `${text.slice(0, caret)}|${text.slice(caret)}`;
    };
    expect(take("sta|", "status")).toBe("status |");
    expect(take("sta| == 5", "status")).toBe("status |== 5");
    expect(take("status |", ">=")).toBe("status >= |");
    expect(take(`method == "G|`, "GET")).toBe(`method == "GET" |`);
    expect(take(`method == "G|"`, "GET")).toBe(`method == "GET" |`);
    expect(take(`method == G| and x`, "GET")).toBe(`method == "GET" |and x`);
    expect(take(`method == "|`, `a"b`)).toBe(`method == "a\\"b" |`);
    expect(take(`status in [5|]`, "500")).toBe("status in [500|]");
    expect(take(`has(sta|`, "status")).toBe("has(status) |");
    expect(take(`has(sta|)`, "status")).toBe("has(status) |");
    expect(take(`header("us|")`, "user-agent")).toBe(`header("user-agent") |`);
    expect(take(`method == "GET" a|`, "and")).toBe(`method == "GET" and |`);
  });

  test("whatever is chosen, the filter is right", async () => {
    const random = new Random(7);
    const wrong: string[] = [];
    let right = 0;
    for (let i = 0; i < 1_500; i++) {
      let text = "";
      for (let step = 0; step < 24; step++) {
        const s = situation(text, text.length);
        const f = of(s.field);
        const address = s.operator === "cidr" ? "10.0.0.0/8" : "10.0.0.7";
        const value =
          f?.kind === "number" ? random.below(900) : f?.kind === "address" ? address : hostileText(random, 4);
        // A regular expression is the writer's, as is a header's value.
        if (s.kind === "value" && (s.operator === "matches" || !f)) text += `"a" `;
        const all = suggest(situation(text, text.length), {
          fields,
          of,
          values: [{ value, count: 1 }],
          times: [{ at: "2026-11-21T10:00:00.000Z", what: "" }],
        });
        if (s.kind === "joiner" && !s.within && random.below(3) === 0) break;
        // The list that a range could also be is left to the writer.
        const open = all.filter((c) => c.insert !== "in ");
        if (open.length === 0) break;
        text = accept(text, situation(text, text.length), random.of(open)).text;
      }
      const { kind, within } = situation(text, text.length);
      if (kind !== "joiner" || within) continue; // it isn't complete
      const answer = await culprit.get<FilterAnswer>(`/api/filter?${new URLSearchParams({ where: text })}`);
      if (answer.ok) right++;
      else wrong.push(`${text}: ${answer.error?.message}`);
    }
    expect(wrong).toEqual([]);
    expect(right).toBeGreaterThan(700);
  });
});
