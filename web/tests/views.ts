// What tests of all views have in common.

import { expect, type Page } from "@playwright/test";

/** paths of all views. frame.spec.ts tests that these are all. */
export const paths = [
  ...[
    "overview",
    "exchanges",
    "services",
    "hops",
    "errors",
    "slow",
    "databases",
    "content",
    "clients",
    "connections",
    "encrypted",
    "inflight",
    "pages",
  ],
  "health",
];

/** settled waits until the view is there, and nothing is being asked for. */
export async function settled(page: Page): Promise<void> {
  await expect(page.getByRole("main")).not.toBeEmpty();
  await expect(page.locator("[aria-busy=true]")).toHaveCount(0);
  await page.waitForLoadState("networkidle");
}
