import { expect, Serving, test } from "./culprit";
import { paths as views, settled } from "./views";

test("every view of the rail opens, without errors", { tag: "@phone" }, async ({ page, open }) => {
  await open("/overview?last=all");
  const rail = page.getByRole("navigation", { name: "Views" });
  await expect(rail.getByRole("link")).toHaveCount(views.length);
  for (const view of views) {
    await rail.locator(`a[href^="/${view}"]`).click();
    await expect(page).toHaveURL(new RegExp(`/${view}\\?last=all$`));
    const title = (await rail.locator("[aria-current=page]").innerText()).trim();
    await expect(page.getByRole("main", { name: title })).not.toBeEmpty();
    await expect(page).toHaveTitle(`${title} · culprit`);
    await settled(page);
    await expect(page.getByRole("main").getByRole("alert")).toHaveCount(0);
  }
});

test("back and forward, and a link gives the same again", async ({ page, open }) => {
  await open("/errors?last=all&where=status+>%3D+500&text=a");
  await expect(page.getByRole("combobox", { name: "Filter" })).toHaveValue("status >= 500");
  await page.getByRole("link", { name: "Slow" }).click();
  await expect(page).toHaveURL(/\/slow\?where=status\+%3E%3D\+500&text=a&last=all$/);
  await page.getByRole("link", { name: "Health" }).click();
  await page.goBack();
  await expect(page.getByRole("main", { name: "Slow" })).toBeVisible();
  await page.goBack();
  await expect(page).toHaveURL(/\/errors\?/);
  await page.goForward();
  const address = page.url();
  await page.reload();
  expect(page.url()).toBe(address);
  await expect(page.getByRole("main", { name: "Slow" })).toBeVisible();
  await expect(page.getByRole("combobox", { name: "Filter" })).toHaveValue("status >= 500");
  await expect(page.getByText("text “a”")).toBeVisible();
  await expect(page.getByRole("button", { name: "Time range: Everything stored" })).toBeVisible();
});

test("without a view the overview is shown, and an unknown one is named", async ({ page, open, faults }) => {
  await open("/");
  await expect(page).toHaveURL(/\/overview$/);
  faults.expect(/^$/);
  await open("/%3Cimg%20src=x%3E");
  await expect(page.getByText("There is no view here")).toBeVisible();
  await expect(page.getByText("“<img src=x>”")).toBeVisible();
  await page.getByRole("button", { name: "Go to the overview" }).click();
  await expect(page).toHaveURL(/\/overview$/);
});

test("an address that can't be decoded is an unknown view", async ({ page, open }) => {
  await open("/%ff?last=all");
  await expect(page.getByText("There is no view here")).toBeVisible();
});

test("the theme is chosen, and kept", async ({ page, open }) => {
  await open("/health");
  const html = page.locator("html");
  await expect(html).toHaveAttribute("data-theme", "light");
  await page.keyboard.press("d");
  await expect(html).toHaveAttribute("data-theme", "dark");
  await page.reload();
  await expect(html).toHaveAttribute("data-theme", "dark");
  await page.getByRole("navigation").getByRole("button", { name: "Light" }).click();
  await expect(html).toHaveAttribute("data-theme", "light");
});

test("the theme is the system's unless one was chosen", async ({ page, open }) => {
  await page.emulateMedia({ colorScheme: "dark" });
  await open("/health");
  await expect(page.locator("html")).toHaveAttribute("data-theme", "dark");
  await page.emulateMedia({ colorScheme: "light" });
  await expect(page.locator("html")).toHaveAttribute("data-theme", "light");
});

test("keys", async ({ page, open }) => {
  await open("/health?last=all");
  await expect(page.getByRole("main", { name: "Health" })).toBeVisible();

  await page.keyboard.press("?");
  const help = page.getByRole("dialog", { name: "Keys and views" });
  await expect(help).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(help).toBeHidden();

  await page.keyboard.press("/");
  const filter = page.getByRole("combobox", { name: "Filter" });
  await expect(filter).toBeFocused();
  await page.keyboard.type("d?t"); // are letters there
  await expect(filter).toHaveValue("d?t");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  await expect(filter).not.toBeFocused();
  await expect(filter).toHaveValue("");

  await page.keyboard.press("t");
  await expect(page.getByRole("dialog", { name: "Time range" })).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  await expect(page.getByRole("button", { name: /^Time range/ })).toBeFocused();

  const live = page.getByRole("button", { name: "Live" });
  await page.keyboard.press("l");
  await expect(live).toHaveAttribute("aria-pressed", "true");
  await expect(page).toHaveURL(/live=1/);
  await page.keyboard.press("l");
  await expect(live).toHaveAttribute("aria-pressed", "false");
  await expect(page).not.toHaveURL(/live/);
});

test("the first key of the tab order skips to the content", async ({ page, open }) => {
  await open("/health");
  await page.keyboard.press("Tab");
  const skip = page.getByRole("link", { name: "Skip to the content" });
  await expect(skip).toBeFocused();
  await expect(skip).toBeInViewport();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("main")).toBeFocused();
});

test("the address bar doesn't keep the token", async ({ page, open, culprit }) => {
  await open("/slow?last=all&where=status+%3D%3D+200");
  expect(page.url()).not.toContain(culprit.token);
  expect(page.url()).toBe(`${culprit.origin}/slow?last=all&where=status+%3D%3D+200`);
  expect(await page.evaluate(() => document.cookie)).toBe(""); // HttpOnly
});

test("without the token a page says what to do", async ({ page, culprit }) => {
  const response = await page.goto(`${culprit.origin}/overview`);
  expect(response?.status()).toBe(401);
  await expect(page.getByText("Open the URL that culprit serve printed last")).toBeVisible();
  expect(await page.locator("script").count()).toBe(0);
});

test("a link on another site leads here, once the token is known", async ({ page, open, culprit, context }) => {
  await open("/health");
  const other = await context.newPage();
  await other.route("http://chat.example/", (route) =>
    route.fulfill({ contentType: "text/html", body: `<a href="${culprit.origin}/slow?last=all">look</a>` }),
  );
  await other.goto("http://chat.example/");
  await other.getByRole("link", { name: "look" }).click();
  await expect(other.getByRole("main", { name: "Slow" })).toBeVisible();
  expect(other.url()).toBe(`${culprit.origin}/slow?last=all`);
  await page.close();
});

test("what isn't reached any more is said", async ({ page, open, faults }) => {
  const short = await Serving.start([]);
  try {
    await open("/health", short);
    await expect(page.getByRole("main", { name: "Health" })).toBeVisible();
  } finally {
    await short.stop();
  }
  faults.expect(/ERR_CONNECTION_REFUSED/);
  await expect(page.getByText("no answer")).toBeVisible({ timeout: 15_000 });
});
