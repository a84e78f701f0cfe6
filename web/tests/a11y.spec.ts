import { violations } from "./axe";
import { expect, test } from "./culprit";
import { paths, settled } from "./views";

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
