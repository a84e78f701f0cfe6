import { expect, test } from "@playwright/test";
import { rate } from "../../src/lib/format";
import { storedSeconds } from "../../src/lib/stored";
import type { Status } from "../../src/lib/types";

test.describe("rates", () => {
  const at = (seconds: number) => new Date(seconds * 1000).toISOString();
  const store = (first: number, last: number) => ({ first: at(first), last: at(last) }) as Status["store"];
  const range = { from: 1_000_000, to: 1_060_000 };

  test("are over the part of the range that is stored", () => {
    expect(storedSeconds(range, store(900, 2_000), false)).toBe(60);
    expect(storedSeconds(range, store(1_010, 2_000), false)).toBe(50);
    expect(storedSeconds(range, store(900, 1_040), false)).toBe(40);
    // While it is captured, nothing is something, too.
    expect(storedSeconds(range, store(900, 1_040), true)).toBe(60);
    expect(storedSeconds(range, undefined, false)).toBe(60);
  });

  test("never divide by nothing", () => {
    expect(storedSeconds(range, store(1_020, 1_020), false)).toBeGreaterThan(0);
    expect(storedSeconds(range, store(100, 200), false)).toBeGreaterThan(0);
    expect(storedSeconds(range, store(5_000, 6_000), true)).toBeGreaterThan(0);
  });

  test("that are small don't look like nothing", () => {
    expect(rate(0)).toBe("0/s");
    expect(rate(0.004)).toBe("< 0.01/s");
    expect(rate(0.0099)).toBe("< 0.01/s");
    expect(rate(0.01)).toBe("0.01/s");
    expect(rate(132)).toBe("132/s");
  });
});
