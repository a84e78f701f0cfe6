import { expect, test } from "@playwright/test";
import { instant, rangeText, written } from "../../src/lib/instant";

// Before a Date is made: a zone with daylight saving time.
process.env.TZ = "Europe/Berlin";

const now = Date.parse("2026-01-15T12:00:00Z");
const span = (text: string) => (text === "15m" ? 900_000 : undefined);
const read = (text: string) => {
  const ms = instant(text, now, span);
  return ms === undefined ? undefined : new Date(ms).toISOString();
};

test("instant", () => {
  const times: [string, string | undefined][] = [
    ["now", "2026-01-15T12:00:00.000Z"],
    ["-15m", "2026-01-15T11:45:00.000Z"],
    ["-nonsense", undefined],
    ["10:42", "2026-01-15T09:42:00.000Z"],
    ["10:42:07.5", "2026-01-15T09:42:07.500Z"],
    ["2026-01-14", "2026-01-13T23:00:00.000Z"],
    ["2026-07-14 10:00", "2026-07-14T08:00:00.000Z"],
    ["2026-07-14T10:00:00Z", "2026-07-14T10:00:00.000Z"],
    ["2026-07-14 10:00 +05:30", "2026-07-14T04:30:00.000Z"],
    ["2026-07-14 10:00:00.118411000−03:00", "2026-07-14T13:00:00.118Z"],
    ["2026-02-30 10:00", undefined],
    ["2026-13-01", undefined],
    ["24:00", undefined],
    ["10:60", undefined],
    ["1812-01-01", undefined],
    ["2026-01-14 10:00 PM", undefined],
    ["", undefined],
    ["yesterday", undefined],
  ];
  for (const [text, expected] of times) expect(read(text), text).toBe(expected);
});

test("what is written is read back, also in the hour that is there twice", () => {
  for (const at of [
    "2026-01-15T10:42:07.118Z",
    "2026-10-25T00:30:00Z",
    "2026-10-25T01:30:00Z",
    "2026-03-29T01:00:00Z",
  ]) {
    expect(instant(written(Date.parse(at)), now, span)).toBe(Date.parse(at));
  }
  expect(written(Date.parse("2026-10-25T00:30:00Z"))).toBe("2026-10-25 02:30:00 +02:00");
  expect(written(Date.parse("2026-10-25T01:30:00Z"))).toBe("2026-10-25 02:30:00 +01:00");
});

test("rangeText", () => {
  const said = (from: string, to: string) => rangeText(Date.parse(from), Date.parse(to), now);
  expect(said("2026-01-15T09:42:07Z", "2026-01-15T09:42:22Z")).toBe("10:42:07 – 10:42:22 +01:00");
  expect(said("2026-01-15T09:42:07.118Z", "2026-01-15T09:42:07.9Z")).toBe("10:42:07.118 – 10:42:07.900 +01:00");
  expect(said("2026-01-14T09:00:00Z", "2026-01-15T09:00:00Z")).toBe("2026-01-14 10:00:00 – 2026-01-15 10:00:00 +01:00");
  expect(said("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z")).toBe(
    "2026-03-28 13:00:00 +01:00 – 2026-03-29 14:00:00 +02:00",
  );
});
