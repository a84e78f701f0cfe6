// Reading the list of exchanges, of which the page has only those rows that are seen.

import { expect, type Locator, type Page } from "@playwright/test";

export interface Listed {
  row: number;
  /** The texts of its cells, by the columns' names in the address. */
  cells: Record<string, string>;
}

export function grid(page: Page): Locator {
  return page.getByRole("grid", { name: "Exchanges" });
}

/** reading gives the rows that are seen now; none of them while one isn't loaded. */
async function reading(page: Page): Promise<Listed[]> {
  const all = await grid(page).evaluate((list) =>
    [...list.querySelectorAll<HTMLElement>("[data-row]")].map((row) => ({
      row: Number(row.dataset["row"]),
      cells: Object.fromEntries(
        [...row.querySelectorAll<HTMLElement>("[data-column]")].map((c) => [
          c.dataset["column"]!,
          c.textContent!.trim(),
        ]),
      ),
    })),
  );
  return all.every((r) => Object.keys(r.cells).length > 0) ? all : [];
}

/** seen waits for the rows, of which one is the given one, and reads them. */
export async function seen(page: Page, row = 0): Promise<Listed[]> {
  let all: Listed[] = [];
  const read = async () => {
    all = await reading(page);
    return all.map((r) => r.row);
  };
  await expect.poll(read, `row ${row} is seen`).toContain(row);
  return all;
}

/** rowCount is how many exchanges the list says that it has. */
export async function rowCount(page: Page): Promise<number> {
  return Number(await grid(page).getAttribute("aria-rowcount")) - 1; // the head is a row
}

/** scrollTo moves the bar to a part of the list: 0.5 is the middle. */
export async function scrollTo(page: Page, part: number): Promise<void> {
  await grid(page).evaluate((list, part) => {
    list.scrollTop = (list.scrollHeight - list.clientHeight) * part;
  }, part);
}
