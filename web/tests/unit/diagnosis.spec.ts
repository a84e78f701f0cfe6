// What the exchanges of a connection say of its network.

import { expect, test } from "@playwright/test";
import { diagnoses, limits, situationWords } from "../../src/lib/diagnosis";
import type { Doc } from "../../src/lib/types";

function exchange(second: number, culprit: object): Doc {
  return {
    "@timestamp": `2026-11-09T10:00:${String(second).padStart(2, "0")}.000000000Z`,
    event: { id: `x${second}`, duration: 5e6 },
    culprit: { packets: { tap: "lo" }, ...culprit },
  };
}
const net = (client: object, server: object, more: object = {}) => ({ net: { client, server, ...more } });
const words = (docs: Doc[]) => Object.fromEntries(diagnoses(docs)[0]!.findings.map((f) => [f.title, f]));

test("a quiet connection has nothing odd", () => {
  const found = words([
    exchange(1, {
      ...net(
        { packets: 3, mss: 1460, rtt: 21e6 },
        { packets: 2, mss: 1460, rtt: 4e5 },
        { handshake: { client_rtt: 20e6, server_rtt: 3e5 } },
      ),
      timing: { connect: 21e6 },
    }),
  ]);
  expect(Object.values(found).filter((f) => f.odd)).toEqual([]);
  expect(found["Opened"]!.words).toBe("in 21.0 ms, with 1 SYN");
  expect(found["Way to the client"]!.words).toBe(
    "20.0 ms there and back in the handshake, 21.0 ms on average at the end",
  );
  expect(found["Way to the server"]!.words).toContain("the tap is nearer to the server");
  expect(found["Sent again"]!.words).toBe("nothing, by neither side");
  expect(found["Windows"]!.words).toBe("never closed");
  expect(found["Segments"]!.words).toBe("1\u202f460 bytes at most, as both sides offered");
});

test("trouble of all exchanges is added up, by side", () => {
  const found = words([
    exchange(
      2,
      net({ packets: 10, zero_windows: 2 }, { packets: 90, retransmits: 3 }, { closed: { by: "client", how: "rst" } }),
    ),
    exchange(1, net({ packets: 10, duplicate_acks: 4 }, { packets: 10, retransmits: 1 }, { handshake: { syns: 3 } })),
  ]);
  expect(found["Sent again"]).toMatchObject({
    words: "the client nothing, the server 4 of 100 packets (4.0 %)",
    odd: true,
  });
  expect(found["Windows"]).toMatchObject({ odd: true });
  expect(found["Windows"]!.words).toContain("the client closed its own 2 times");
  expect(found["Order"]!.words).toBe("the client missed something 4 times (duplicate ACKs)");
  expect(found["Opened"]).toMatchObject({
    words: "with 3 SYNs: those before the last weren't answered in time",
    odd: true,
  });
  expect(found["Ended"]).toMatchObject({ words: "the client reset it (RST)", odd: true });
});

test("who limited it is who most time is due to", () => {
  const [d] = diagnoses([
    exchange(1, { split: { wait: { server: 300e6, server_network: 1e6 } } }),
    exchange(2, { split: { receive: { client_network: 99e6 } } }),
  ]);
  expect(d!.due.map((x) => [x.name, x.ns])).toEqual([
    ["server", 300e6],
    ["client_network", 99e6],
    ["server_network", 1e6],
  ]);
  expect(limits(d!)).toBe(
    "Most of its time is due to the server: 300 ms, 75 %; client-side network 99.0 ms, server-side network 1.00 ms.",
  );
  expect(limits(diagnoses([exchange(1, {})])[0]!)).toBe("Whom its time is due to isn't known.");
});

test("verdicts are counted by situation, and the worst comes first", () => {
  const blame = (who: string, situation: string, time?: number) => ({ blame: { who, situation, time } });
  const [d] = diagnoses([
    exchange(1, blame("none", "")),
    exchange(2, blame("client-network", "loss-client-side", 1e9)),
    exchange(3, blame("client-network", "loss-client-side", 2e9)),
    exchange(4, blame("server", "server-error")),
  ]);
  expect(d!.situations.map(situationWords)).toEqual([
    "loss on the client's side: 2 exchanges, 3.00 s lost",
    "server error: 1 exchange",
  ]);
  expect(d!.worst.map((x) => (x["event"] as { id: string }).id)).toEqual(["x3", "x2", "x4"]);
});

test("each tap has its own", () => {
  const at = (tap: string) => exchange(1, { packets: { tap } });
  expect(diagnoses([at("wan"), at("lo"), at("wan")]).map((d) => [d.tap, d.exchanges])).toEqual([
    ["lo", 1],
    ["wan", 2],
  ]);
  expect(diagnoses([])).toEqual([]);
});
