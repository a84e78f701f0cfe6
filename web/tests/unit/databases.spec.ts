import { expect, test } from "@playwright/test";
import type { Group } from "../../src/lib/totals";
import type { Repeat, Statement } from "../../src/lib/types";
import { how, id, sortFor, sure } from "../../src/views/databases/lists";
import { graph, whatOf } from "../../src/views/services/graph";

test("the server sorts by what it can, so that what is left out is the least of it", () => {
  expect(sortFor("-p99")).toBe("p99");
  expect(sortFor("")).toBe("total_time");
  // The smallest first are the smallest of those that took most time: all can't be asked for so.
  expect(sortFor("p99")).toBe("total_time");
  expect(sortFor("-template")).toBe("total_time");
});

test("rows of one template in two databases aren't the same", () => {
  const row = (database: string | null) => ({ key: "SELECT ?", system: "mysql", database }) as Statement;
  expect(id(row("a"))).not.toBe(id(row("b")));
  expect(id(row(null))).not.toBe(id(row("null")));
});

test("findings are told in words", () => {
  expect([1, 0.94, 0.6, 0.3, 0.1].map(sure)).toEqual(["certain", "very likely", "likely", "possible", "a guess"]);
  const r = { at_once: 4, sequential: false } as Repeat;
  expect(how(r)).toBe("up to 4 at once");
  expect(how({ ...r, sequential: true })).toBe("one after the other");
});

test.describe("the map", () => {
  const group = (keys: string[], count: number): Group => ({
    keys,
    count,
    values: { errors: 0, "p90(duration)": 1 },
  });
  const tables = {
    served: [group(["10.0.0.1", "80", "", ""], 5), group(["10.0.0.2", "3306", "", ""], 50)],
    inner: [group(["10.0.0.1", "", "10.0.0.2", "3306"], 50), group(["10.0.0.1", "", "10.0.0.2", "80"], 1)],
    outer: [group(["", "10.0.0.1", "80"], 5)],
  };

  test("says what is counted of each link", () => {
    const { nodes, edges } = graph({ ...tables, spoken: new Map([["10.0.0.2:3306", "mysql"]]) });
    expect(nodes.find((n) => n.label === "10.0.0.2:3306")?.speaks).toBe("mysql");
    expect(nodes.find((n) => n.label === "10.0.0.1:80")?.speaks).toBeUndefined();
    expect(edges.map((e) => [e.to, e.what])).toEqual([
      ["socket 10.0.0.2:3306", "statement"],
      ["socket 10.0.0.1:80", "request"],
      ["socket 10.0.0.2:80", "request"],
    ]);
  });

  test("adds up calls of several kinds as calls", () => {
    const served = [group(["10.0.0.2", "3306", "data", ""], 50), group(["10.0.0.2", "80", "data", ""], 1)];
    const { edges } = graph({ ...tables, served, spoken: new Map([["10.0.0.2:3306", "mysql"]]) });
    const both = edges.find((e) => e.to === "service data")!;
    expect([both.what, both.count]).toEqual(["call", 51]);
  });

  test("tells statements from lookups", () => {
    expect([whatOf("redis"), whatOf("llmnr"), whatOf(undefined)]).toEqual(["statement", "lookup", "request"]);
  });
});
