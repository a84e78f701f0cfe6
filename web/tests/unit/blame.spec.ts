// Verdicts, and whom time is due to.

import { expect, test } from "@playwright/test";
import {
  isSplit,
  packetsOf,
  parties,
  partyOf,
  pieces,
  situationOf,
  splitOf,
  splitSums,
  verdictOf,
  whyOf,
} from "../../src/lib/blame";

test("packets are found in sentences", () => {
  const packets = (sentence: string) => pieces(sentence).flatMap((p) => p.packet ?? []);
  expect(packets("412 ms of 430 ms between packet 81 (request complete) and packet 97 (first byte)")).toEqual([81, 97]);
  expect(packets("packets 81 to 97 hold it, packets 5–7 too")).toEqual([81, 97, 5, 7]);
  expect(packets("packets 1, 2 and 3")).toEqual([1, 2, 3]);
  expect(packets("a reset, packet 97")).toEqual([97]);
  expect(packets("packets 81 to 97.5 ms")).toEqual([81]);
  expect(packets("3 packets in 20 ms; ICMP packet: 7; packetloss 12")).toEqual([]);
  expect(packets("packet 12345678901234567890")).toEqual([]);
  expect(packets("packets 6 and 7.")).toEqual([6, 7]);
  expect(packets("packet 1.5")).toEqual([]);
  for (const sentence of ["packet 5", "no packets", "x packet 5 y packets 6 and 7.", ""]) {
    expect(
      pieces(sentence)
        .map((p) => p.words)
        .join(""),
    ).toBe(sentence);
  }
});

test("what a verdict says is said once", () => {
  const evidence = ["412 ms between packet 81 and packet 97", "status 500, packet 97"];
  expect(whyOf({ who: "server", why: `server: ${evidence[0]}`, evidence })).toBe("");
  expect(whyOf({ who: "server", why: evidence[0]!, evidence })).toBe("");
  expect(whyOf({ who: "unclear", why: "packets are missing", evidence: [] })).toBe("packets are missing");
  const doc = { culprit: { blame: { who: "server", why: `server: ${evidence[0]}`, evidence } } };
  expect(packetsOf(verdictOf(doc))).toEqual([
    { packet: 81, said: [evidence[0]] },
    { packet: 97, said: evidence },
  ]);
  expect(packetsOf(undefined)).toEqual([]);
});

test("a verdict is read of a document, whatever is in it", () => {
  expect(verdictOf({})).toBeUndefined();
  expect(verdictOf({ culprit: { blame: { who: 7 } } })).toMatchObject({ who: "7", evidence: [] });
  expect(verdictOf({ culprit: { blame: { who: "server", time: "1", evidence: "one" } } })).toMatchObject({
    time: undefined,
    evidence: ["one"],
  });
  expect(partyOf("martian")).toMatchObject({ who: "martian", title: "martian" });
  expect(new Set(parties.map((p) => p.color)).size).toBe(parties.length);
});

test("situations have names for people", () => {
  expect(situationOf("slow-application")).toBe("slow application");
  expect(situationOf("syn-lost")).toBe("SYN lost");
  expect(situationOf("")).toBe("");
});

test("a phase is split along the way from the client to the server", () => {
  const doc = {
    culprit: {
      split: { wait: { server: 410, server_network: 2 }, receive: { client: 5, client_network: 0, server: "x" } },
    },
  };
  expect(splitOf(doc, "wait").map((s) => [s.cause.name, s.at, s.ns])).toEqual([
    ["server_network", 0, 2],
    ["server", 2, 410],
  ]);
  expect(splitOf(doc, "send")).toEqual([]);
  expect(splitSums(doc)).toEqual({ client: 5, client_network: 0, server_network: 2, server: 410 });
  expect([isSplit(doc), isSplit({ culprit: {} })]).toEqual([true, false]);
});
