import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Page } from "@playwright/test";
import type { AxeResults } from "axe-core";
import { expect, test } from "./culprit";
import { paths, settled } from "./views";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** violations are those of the whole page that matter: who, why, where. */
async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  const results = await page.evaluate(
    async () => (await (window as unknown as { axe: { run: () => Promise<unknown> } }).axe.run()) as AxeResults,
  );
  return results.violations
    .filter((v) => v.impact === "serious" || v.impact === "critical")
    .flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.html.slice(0, 200)} ${n.failureSummary?.split("\n")[1] ?? ""}`));
}

for (const theme of ["light", "dark"] as const) {
  for (const path of paths) {
    test(`${path} is accessible in ${theme}`, { tag: "@phone" }, async ({ page, open }) => {
      await page.emulateMedia({ colorScheme: theme });
      await open(`/${path}?last=all`);
      await settled(page);
      expect(await violations(page)).toEqual([]);
    });
  }
}

test("what opens is accessible", { tag: "@phone" }, async ({ page, open }) => {
  await open("/health?last=all&text=a");
  await settled(page);
  await page.getByRole("combobox", { name: "Filter" }).fill("stauts == 1 and sta");
  await expect(page.getByRole("option").first()).toBeVisible();
  await page.keyboard.press("ArrowDown");
  expect(await violations(page)).toEqual([]);
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  await page.keyboard.press("t");
  expect(await violations(page)).toEqual([]);
  await page.keyboard.press("Escape");
  await page.keyboard.press("?");
  expect(await violations(page)).toEqual([]);
});
