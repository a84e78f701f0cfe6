import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import { alertOf, remedy, validity } from "../../src/lib/tls";

const source = (path: string) => readFileSync(join(import.meta.dirname, "../../../internal/tls", path), "utf8");

test("alerts have the words that culprit has for them", () => {
  const all = [...source("handshake/alert.go").matchAll(/^\t\d+:\s+\{"(\w+)", "(.*)"\},$/gm)];
  expect(all.length).toBeGreaterThan(35);
  for (const [, name, meaning] of all) {
    const said = (sender: string, peer: string) =>
      meaning!.replaceAll("{sender}", `the ${sender}`).replaceAll("{peer}", `the ${peer}`);
    expect(alertOf(`server: ${name}`)).toEqual({ sender: "server", name, meaning: said("server", "client") });
    expect(alertOf(`client: ${name}`).meaning).toBe(said("client", "server"));
  }
  expect(alertOf("client: alert_250").meaning).toContain("no standard");
  expect(alertOf("client: constructor").meaning).toContain("no standard");
});

test("each reason for not reading has something to do", () => {
  const reasons = ["parser.go", "engine.go", "half.go", "handshake.go", "record.go"]
    .flatMap((file) => [...source(file).matchAll(/(?:\.blind|\.giveUp)\("([^"]+)"|facts\.Reason = "([^"]+)"/g)])
    .map((m) => m[1] ?? m[2]!);
  const noKey = source("keys.go").split("noKey() string")[1]!.split("\n}\n")[0]!;
  reasons.push(...[...noKey.matchAll(/return "([^"]+)"/g)].map((m) => m[1]!));
  expect(reasons.length).toBeGreaterThan(10);
  for (const reason of reasons) expect(remedy(reason), reason).not.toBe("");
  expect(remedy("something else")).toBe("");
});

test("the end of a certificate is said in words", () => {
  expect([-3, -1, 0, 1, 29, 30].map((days) => validity(days))).toEqual([
    { words: "ended 3 days ago", class: "ended" },
    { words: "ended a day ago", class: "ended" },
    { words: "ends within a day", class: "soon" },
    { words: "1 day left", class: "soon" },
    { words: "29 days left", class: "soon" },
    { words: "30 days left", class: "" },
  ]);
});
