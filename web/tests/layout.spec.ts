import { expect, test } from "./culprit";
import { overlaps, small, wide } from "./place";
import { paths, settled } from "./views";

for (const path of paths) {
  test(`${path} has its place`, { tag: "@phone" }, async ({ page, open }) => {
    await open(`/${path}?last=all`);
    await settled(page);
    expect(await wide(page), "wider than the window").toEqual([]);
    expect(await overlaps(page), "text on text").toEqual([]);
    expect(await small(page), "too small to be hit").toEqual([]);
  });
}

test("the bar has its place with all in it", { tag: "@phone" }, async ({ page, open }) => {
  const where = Array.from({ length: 20 }, (_, i) => `path != "/some/long/path/${i}"`).join(" and ");
  const query = new URLSearchParams({ where, text: "a very long text that is looked for in everything", last: "all" });
  await open(`/health?${query}`);
  await settled(page);
  expect(await wide(page)).toEqual([]);
  expect(await overlaps(page)).toEqual([]);
  expect(await small(page)).toEqual([]);
  await page.getByRole("button", { name: /^Time range/ }).click();
  const panel = (await page.getByRole("dialog").boundingBox())!;
  expect(panel.x).toBeGreaterThanOrEqual(0);
  expect(panel.x + panel.width).toBeLessThanOrEqual(page.viewportSize()!.width);
  expect(await overlaps(page)).toEqual([]);
});

test("what overlaps is found", async ({ page }) => {
  await page.setContent(
    `<p style="margin:0">one</p><p style="margin:0;position:relative;top:-12px">two</p><main></main>`,
  );
  expect(await overlaps(page)).toEqual(["“one” and “two”"]);
  await page.setContent(`<main><div style="width:5000px">x</div></main>`);
  expect(await wide(page)).not.toEqual([]);
  await page.setContent(
    `<button style="width:9px;height:9px;padding:0">a</button><button style="width:9px;height:9px;padding:0">b</button>`,
  );
  expect(await small(page)).toHaveLength(2);
});
