import { expect, test } from "./culprit";

// The demonstration has the beginning of one TLS connection.

test("a handshake that nobody finished is told of", async ({ page, open }) => {
  await open("/encrypted?last=all");
  await expect(page.getByText("1 TLS connection, 0 read (0 %)")).toBeVisible();
  const handshake = page.getByRole("row").filter({ hasText: "The handshake wasn't finished, and nobody said why" });
  await handshake.getByRole("link", { name: "1", exact: true }).click();
  await expect(page).toHaveURL(/\/exchanges\?/);
  await expect(page.getByText("1 exchange")).toBeVisible();
  await page.goBack();
  await expect(page.getByText("No certificate that was seen ends within 30 days.")).toBeVisible();
});

test("that there is no TLS is said, and what that means", async ({ page, open }) => {
  await open("/encrypted?from=2026-01-15T10:42:07Z&to=2026-01-15T10:42:08Z");
  await expect(page.getByText("all that was captured is plain")).toBeVisible();
  await open(`/encrypted?last=all&where=${encodeURIComponent('method == "GET"')}`);
  await expect(page.getByText("No TLS connection matches")).toBeVisible();
});
