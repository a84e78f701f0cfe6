import type { Page } from "@playwright/test";
import { expect, test } from "./culprit";

const filter = (page: Page) => page.getByRole("combobox", { name: "Filter" });
const options = (page: Page) => page.getByRole("option");
const where = (page: Page) => new URL(page.url()).searchParams.get("where");

test.beforeEach(async ({ open }) => {
  await open("/health?last=all");
});

test("a filter is written with the keyboard alone", { tag: "@phone" }, async ({ page }) => {
  await filter(page).click();
  await expect(options(page).first()).toContainText("status");
  await page.keyboard.type("sta");
  await expect(options(page).first()).toHaveText(/^status.*status code of the final response/);
  await page.keyboard.press("Tab");
  await expect(filter(page)).toHaveValue("status ");
  await expect(options(page).first()).toContainText(">=");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  await expect(page.getByRole("option", { selected: true })).toContainText("==");
  await page.keyboard.press("Enter");
  await expect(filter(page)).toHaveValue("status == ");
  await page.keyboard.type("4");
  await expect(options(page).first()).toContainText(/^4\d\d/); // what is stored
  const first = (await options(page).first().locator("bdi").innerText()).trim();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await expect.poll(() => where(page)).toBe(`status == ${first}`);
});

test("values are completed within quotes, with their counts", async ({ page, culprit }) => {
  await filter(page).fill(`vhost == "`);
  const { values } = await culprit.get<{ values: { value: string; count: number }[] }>(
    "/api/complete?field=vhost&prefix=",
  );
  await expect(options(page)).toHaveCount(values.length);
  for (const [i, v] of values.entries()) await expect(options(page).nth(i)).toHaveText(`${v.value} ${v.count}`);
  await options(page).first().click();
  await expect(filter(page)).toHaveValue(`vhost == "${values[0]!.value}" `);
  await expect(filter(page)).toBeFocused();
});

test("networks are completed", async ({ page }) => {
  await filter(page).fill(`cidr(client, "10`);
  await expect(options(page)).toHaveText([/^10\.0\.0\.0\/24 40/]);
  await page.keyboard.press("Tab");
  await expect(filter(page)).toHaveValue(`cidr(client, "10.0.0.0/24") `);
});

test(
  "an error is shown under the word that is wrong, and the filter isn't applied",
  { tag: "@phone" },
  async ({ page }) => {
    await filter(page).fill(`path == "é" and stauts >= 500 `);
    const wrong = page.locator(".mirror .wrong");
    await expect(wrong).toHaveText("stauts");
    await expect(page.getByText("there is no field stauts; did you mean status?")).toBeVisible();
    await expect(filter(page)).toHaveAttribute("aria-invalid", "true");
    await expect(filter(page)).toHaveAttribute("aria-describedby", /.+/);
    // The mark stands under the word itself.
    const [mark, word] = await page.evaluate(() => {
      const input = document.querySelector("input")!;
      const canvas = document.createElement("canvas").getContext("2d")!;
      canvas.font = getComputedStyle(input).font;
      const before = canvas.measureText(`path == "é" and `).width;
      const padding = parseFloat(getComputedStyle(input).paddingLeft);
      return [
        document.querySelector(".wrong")!.getBoundingClientRect().left,
        input.getBoundingClientRect().left + padding + before - input.scrollLeft,
      ];
    });
    expect(Math.abs(mark! - word!)).toBeLessThan(2);
    await page.keyboard.press("Enter");
    await expect(page.getByText("there is no field stauts")).toBeVisible();
    expect(where(page)).toBeNull();
  },
);

test("what is being written isn't called wrong, until it is applied", async ({ page }) => {
  const answered = page.waitForResponse(/\/api\/filter\?where=status\+%3E%3D$/);
  await filter(page).pressSequentially("status >=");
  await answered;
  await expect(filter(page)).toHaveAttribute("aria-invalid", "false");
  await page.keyboard.press("Enter");
  await expect(page.getByText("the filter ends too early")).toBeVisible();
  await expect(filter(page)).toHaveAttribute("aria-invalid", "true");
  expect(where(page)).toBeNull();
});

test("nothing jumps when an error appears", async ({ page }) => {
  const place = async () => [await filter(page).boundingBox(), await page.getByRole("main").boundingBox()];
  await filter(page).fill("status == 200 ");
  const before = await place();
  await filter(page).fill("nonsense and status == 200 ");
  await expect(page.getByText("there is no field nonsense")).toBeVisible();
  expect(await place()).toEqual(before);
});

test("words are looked for as text", { tag: "@phone" }, async ({ page }) => {
  await filter(page).fill("orders");
  await expect(options(page).first()).toContainText("Look for the text “orders”");
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/text=orders/);
  await expect(page.getByText("text “orders”")).toBeVisible();
  await expect(filter(page)).toHaveValue("");
  await page.getByRole("button", { name: "Don't look for the text" }).click();
  await expect(page).not.toHaveURL(/text=/);
});

test("an address, a path or an id becomes a condition", async ({ page }) => {
  await filter(page).fill("10.0.0.7");
  await expect(options(page).nth(1)).toContainText(`client == "10.0.0.7"`);
  await options(page).nth(1).click();
  await expect.poll(() => where(page)).toBe(`client == "10.0.0.7"`);
});

test("Escape closes the list, then leaves and takes back what isn't applied", async ({ page }) => {
  await filter(page).fill("meth");
  await expect(options(page).first()).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(options(page)).toHaveCount(0);
  await expect(filter(page)).toBeFocused();
  await expect(filter(page)).toHaveValue("meth");
  await page.keyboard.press("Escape");
  await expect(filter(page)).not.toBeFocused();
  await expect(filter(page)).toHaveValue("");
});

test("Tab leaves when nothing is being written", async ({ page }) => {
  await filter(page).focus();
  await expect(options(page).first()).toBeVisible();
  await page.keyboard.press("Tab");
  await expect(filter(page)).not.toBeFocused();
  await expect(options(page)).toHaveCount(0);
});

test("filters that were used are offered again", async ({ page }) => {
  for (const f of ["status == 200", 'method == "GET"']) {
    await filter(page).fill(f);
    await page.keyboard.press("Enter");
    await expect.poll(() => where(page)).toBe(f);
  }
  await page.getByRole("button", { name: "Remove the filter" }).click();
  expect(where(page)).toBeNull();
  await expect(options(page).first()).toHaveText(`method == "GET"`);
  await expect(options(page).nth(1)).toHaveText("status == 200");
  await options(page).nth(1).click();
  await expect.poll(() => where(page)).toBe("status == 200");
  await page.getByRole("button", { name: "Remove the filter" }).click();
  await page.getByRole("button", { name: "Forget these filters" }).click();
  await expect(options(page).first()).toContainText("status code of the final response");
});

test("a link's filter is shown, on one line and with its error", async ({ page, open, faults }) => {
  await open("/health?where=status+%3D%3D+200+%2F%2F+fine%0Aand+method+%3D%3D+%22GET%22");
  await expect(filter(page)).toHaveValue(`status == 200 /* fine */ and method == "GET"`);
  faults.expect(/status of 400/);
  await open("/overview?where=stauts+%3D%3D+200");
  await expect(page.locator(".mirror .wrong")).toHaveText("stauts");
});

test("a long filter scrolls, and its mark with it", { tag: "@phone" }, async ({ page }) => {
  const long = `stauts == 1 and ${Array.from({ length: 30 }, (_, i) => `path != "/some/path/${i}"`).join(" and ")} `;
  await filter(page).fill(long);
  await expect(page.locator(".mirror .wrong")).toHaveText("stauts");
  const scrolled = () =>
    page.evaluate(() =>
      [document.querySelector("input")!, document.querySelector(".mirror")!].map((e) => e.scrollLeft),
    );
  await filter(page).press("End");
  await expect.poll(async () => (await scrolled())[0]).toBeGreaterThan(500);
  const [of, mirror] = await scrolled();
  expect(Math.abs(of! - mirror!)).toBeLessThan(2);
  expect((await filter(page).boundingBox())!.width).toBeLessThan(page.viewportSize()!.width);
});

test("hostile values are quoted", async ({ page }) => {
  await filter(page).fill(`/a"><img src=x onerror=alert(1)>`);
  await expect(options(page).first()).toContainText("Look for the text");
  await page.keyboard.press("Enter");
  await expect(page.getByText(`text “/a"><img src=x onerror=alert(1)>”`)).toBeVisible();
  expect(await page.locator("img").count()).toBe(0);
});

test("a click on a value adds it, and its sign or Shift excludes it", async ({ page, open }) => {
  await open(`/errors?last=all&where=${encodeURIComponent('method == "GET" or method == "POST"')}`);
  const main = page.getByRole("main");
  const excludes = main.getByRole("button", { name: /^Exclude status == 404$/ }).first();
  await excludes.click();
  await expect.poll(() => where(page)).toBe(`(method == "GET" or method == "POST") and not (status == 404)`);
  await main
    .getByTitle("Only status == 500 (Shift: exclude it)")
    .first()
    .click({ modifiers: ["Shift"] });
  await expect.poll(() => where(page)).toMatch(/ and not \(status == 404\) and not \(status == 500\)$/);
  await main.getByTitle("Only status == 401 (Shift: exclude it)").first().click();
  await expect.poll(() => where(page)).toMatch(/ and not \(status == 500\) and status == 401$/);
  await expect(filter(page)).toHaveValue(where(page)!);
});
