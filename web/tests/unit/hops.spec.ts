// Trees of hops as rows of a waterfall, and chains of routes.

import { expect, test } from "@playwright/test";
import { boundsOf, remarks, rowsOf, scaleTicks, whatOf, whoServes } from "../../src/lib/hops";
import { chainsOf } from "../../src/views/services/chains";
import { node, trace } from "../traces";
import type { RoutedAs, RouteStep } from "../../src/lib/types";

test("each hop has what its children leave of its time", () => {
  const rows = rowsOf(
    trace([
      node({ id: "a", duration: 100 }),
      node({ id: "b", parent: "a", depth: 1, offset: 10, duration: 30 }),
      node({ id: "c", parent: "a", depth: 1, offset: 20, duration: 30 }),
      node({ id: "d", parent: "a", depth: 1, offset: 90, duration: 50, async: true }),
      node({ id: "e", parent: "a", depth: 1, offset: 200, duration: 5, async: true }),
    ]),
  );
  expect(rows.map((r) => r.own)).toEqual([
    [
      [0, 10],
      [50, 90],
    ],
    [[10, 40]],
    [[20, 50]],
    [[90, 140]],
    [[200, 205]],
  ]);
  expect(rows[1]!.parent).toBe(rows[0]);
  expect(boundsOf(rows)).toEqual({ from: 0, to: 205 });
});

test("what came before the root is within the bounds", () => {
  const rows = rowsOf(
    trace([node({ id: "a", duration: 10 }), node({ id: "b", parent: "a", depth: 1, offset: -7, duration: 2 })]),
  );
  expect(boundsOf(rows)).toEqual({ from: -7, to: 10 });
});

test("links below 90 % are unsure, and say so", () => {
  const rows = rowsOf(
    trace([
      node({ id: "a", confidence: 0.1 }),
      node({ id: "b", parent: "a", depth: 1, method: "timing", confidence: 0.71 }),
      node({ id: "c", parent: "a", depth: 1, method: "id", confidence: 1, role: "retry", async: true }),
    ]),
  );
  expect(rows.map((r) => r.unsure)).toEqual([false, true, false]);
  expect(remarks(rows[0]!)).toEqual([]);
  expect(remarks(rows[1]!)).toEqual(["linked by timing: 71 % sure"]);
  expect(remarks(rows[2]!)).toEqual([
    "linked by an id that it carries",
    "again, after the one before failed",
    "began after the answer to what caused it had ended",
  ]);
});

test("who serves is known by the best name, and what is asked by its route", () => {
  const of = (n: Parameters<typeof node>[0]) => whoServes(node({ server: "10.0.0.3:80", ...n }));
  expect(of({ service: "app", process: "node", host: "shop.example" })).toBe("app");
  expect(of({ process: "node", host: "shop.example" })).toBe("node");
  expect(of({ host: "shop.example" })).toBe("shop.example");
  expect(of({ host: "10.0.0.3" })).toBe("10.0.0.3:80");
  expect(of({ host: "[::1]:80" })).toBe("10.0.0.3:80");
  expect(of({ host: "db", protocol: "mysql" })).toBe("10.0.0.3:80");
  expect(whatOf(node({ verb: "GET", target: "/a/1", route: "/a/{id}" }))).toBe("GET /a/{id}");
  expect(whatOf(node({ verb: "SELECT", target: "select 1" }))).toBe("select 1");
  expect(whatOf(node({ verb: "", target: "" }))).toBe("");
});

test("ticks are round, and few", () => {
  for (const ns of [1, 7, 999, 12_345, 5e6, 431e6, 3.6e12]) {
    const ticks = scaleTicks(ns);
    expect(ticks[0]).toBe(0);
    expect(ticks.at(-1)!).toBeLessThanOrEqual(ns);
    expect(ticks.length).toBeLessThanOrEqual(13);
  }
});

test("chains are the ways through the tree of hops", () => {
  const step = (depth: number, name: string, ended: number): RouteStep => ({
    ...{ depth, name, ended, protocol: "http", route: "", service: "", process: "", tap: "", server: "", requests: 9 },
    ...{ count: 9, errors: 0, p50: 1, p99: 2, total_time: 9, unseen: "" },
  });
  const route = {
    steps: [
      step(0, "edge", 1),
      step(1, "lb", 0),
      step(2, "app-1", 2),
      step(2, "app-2", 5),
      step(3, "db", 3),
      step(1, "cache", 4),
    ],
  } as RoutedAs;
  expect(chainsOf(route).map((c) => [c.hops.map((h) => h.name).join(" "), c.requests])).toEqual([
    ["edge lb app-2", 5],
    ["edge cache", 4],
    ["edge lb app-2 db", 3],
    ["edge lb app-1", 2],
    ["edge", 1],
  ]);
});
