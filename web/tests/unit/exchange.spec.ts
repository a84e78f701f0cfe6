import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import { anomalies, grades } from "../../src/lib/anomalies";
import { chosen, listColumns, mostColumns, offered, usual, written } from "../../src/lib/columns";
import { displayFilter, sameConnection } from "../../src/lib/connection";
import { closing, netFacts } from "../../src/lib/netfacts";
import { barOf, scaleOf } from "../../src/lib/waterfall";
import type { Doc } from "../../src/lib/types";

const guide = readFileSync(join(import.meta.dirname, "../../../docs/fields.md"), "utf8");

/** The rows of a table of the guide with a name and a meaning. */
function table(heading: string): Record<string, string> {
  const part = guide.split(`## ${heading}\n`)[1]!.split("\n## ")[0]!;
  return Object.fromEntries([...part.matchAll(/^\| `([^`]+)` \| (.*) \|$/gm)].map((m) => [m[1]!, m[2]!]));
}

test("grades and anomalies have the guide's words", () => {
  expect(Object.keys(table("Anomalies")).length).toBeGreaterThan(30);
  expect(anomalies).toEqual(table("Anomalies"));
  expect(grades).toEqual(table("Grades"));
});

test("columns ask for fields that there are", () => {
  const names = new Set(
    [...guide.matchAll(/^\| `([^`]+)` \| (.*?) \|/gm)].flatMap((m) => [
      m[1]!,
      ...[...m[2]!.matchAll(/`([^`]+)`/g)].map((a) => a[1]!),
    ]),
  );
  for (const c of listColumns) for (const f of c.fields) expect(names, f).toContain(f);
  for (const f of offered) expect(names, f).toContain(f);
});

test("columns in the address", () => {
  expect(chosen("time,target:400,target,rtt:9999,bad column,culprit.net.client.rtt,@timestamp")).toEqual([
    { key: "time" },
    { key: "target", width: 400 },
    { key: "rtt", width: 1200 },
    { key: "culprit.net.client.rtt" },
    { key: "@timestamp" },
  ]);
  expect(chosen(Array.from({ length: 99 }, (_, i) => "a" + i).join(","))).toHaveLength(mostColumns);
  expect(written(chosen("time,target:400"))).toBe("time,target:400");
  expect(usual(true).length).toBeLessThan(usual(false).length);
});

const on = (id: string, seconds: number, index: number): Doc => ({
  "@timestamp": `2026-01-15T10:42:${String(seconds).padStart(2, "0")}.000000000Z`,
  event: { id },
  culprit: { http: { connection_index: index } },
});

test("a connection ends where its ports are used again", () => {
  const old = [on("a", 1, 0), on("b", 2, 1)];
  const mine = [on("c", 3, 0), on("d", 4, 1), on("e", 5, 2)];
  const next = [on("f", 6, 0), on("g", 7, 1)];
  const all = [...next, ...old, ...mine];
  expect(sameConnection(mine[1]!, all).map((d) => (d.event as Doc).id)).toEqual(["c", "d", "e"]);
  expect(sameConnection(next[1]!, all).map((d) => (d.event as Doc).id)).toEqual(["f", "g"]);
  expect(sameConnection(mine[0]!, []).map((d) => (d.event as Doc).id)).toEqual(["c"]);
});

test("pipelined requests of one moment are in their order", () => {
  const all = [on("b", 3, 1), on("a", 3, 0), on("c", 3, 2)];
  expect(sameConnection(all[0]!, all).map((d) => (d.event as Doc).id)).toEqual(["a", "b", "c"]);
});

test("a display filter has nothing in it but addresses and numbers", () => {
  const d = {
    client: { ip: "10.0.0.7", port: 51022 },
    server: { ip: "2001:db8::2", port: 8000 },
    culprit: { packets: { first: 81, last: 97 } },
  };
  expect(displayFilter(d, true)).toBe(
    "ip.addr == 10.0.0.7 && ipv6.addr == 2001:db8::2 && tcp.port == 51022 && tcp.port == 8000 && frame.number >= 81 && frame.number <= 97",
  );
  expect(displayFilter({ client: { ip: "1 or evil", port: 1 }, network: { transport: "x" } }, false)).toBe("");
});

test("what is unusual about the network has its number", () => {
  const d = {
    culprit: {
      net: {
        client: { packets: 4, rtt: 1e6 },
        server: { packets: 10, retransmits: 3, mss: 536 },
        closed: { by: "server", how: "rst" },
      },
    },
  };
  const of = (what: string) => netFacts(d).find((f) => f.what === what)!;
  expect(of("Segments sent again").server).toMatchObject({
    text: "3",
    unusual: "3 of 10 packets sent again",
    value: 3,
  });
  // Counters are left out of documents when they are zero, and can't be filtered by then.
  expect(of("Segments sent again").client).toMatchObject({ text: "0", unusual: "", value: undefined });
  expect(of("Largest segment offered").server.unusual).not.toBe("");
  expect(of("Smoothed round trip").server.text).toBe("–");
  expect(closing(d)).toEqual({ words: "the server reset it (RST)", unusual: true });
  expect(netFacts({})).toEqual([]);
});

const bar = (micro: number, wait: number, connect = 0): Doc => ({
  "@timestamp": `2026-01-15T10:42:00.${String(micro).padStart(6, "0")}000Z`,
  event: { duration: wait },
  culprit: { timing: { wait, ...(connect ? { connect } : {}) } },
});

test("rows that overlap share a scale, in which connections begin before the first byte", () => {
  const docs = [bar(1000, 5e6), bar(2000, 5e6, 1e6), bar(3000, 5e6)];
  const scale = scaleOf(docs);
  expect(scale.shared).toBe(true);
  expect(barOf(docs[0]!, scale).at).toBeCloseTo(0);
  expect(barOf(docs[1]!, scale).at).toBeCloseTo(0);
  expect(barOf(docs[2]!, scale).at).toBeCloseTo(2e6);
  for (const d of docs) expect(barOf(d, scale).cut).toBe(false);
});

test("one that is far longer than the others is cut, not they", () => {
  const docs = [...Array.from({ length: 30 }, (_, i) => bar(i * 100, 2e6)), bar(50, 60e9)];
  const scale = scaleOf(docs);
  expect(scale.width).toBeLessThan(10e6);
  expect(barOf(docs.at(-1)!, scale).cut).toBe(true);
});

test("rows far apart begin at the left each", () => {
  const docs = Array.from({ length: 20 }, (_, i) => bar(i * 49_000, 1e5));
  expect(scaleOf(docs).shared).toBe(false);
  expect(barOf(docs[5]!, scaleOf(docs)).at).toBe(0);
  expect(scaleOf(docs, true).shared).toBe(true);
  expect(scaleOf([], undefined).width).toBeGreaterThan(0);
});
