// Filters that were used before, in this browser alone.

const key = "culprit-filters";

/** How many are kept. */
export const maxRecent = 20;

/** The longest that is kept, in characters: as long as a filter may be. */
const maxLength = 4096;

/** recent gives them, the last first. What isn't as this page writes it is left out. */
export function recent(): string[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(key) ?? "[]");
    if (!Array.isArray(kept)) return [];
    return kept.filter((f): f is string => typeof f === "string" && f.length <= maxLength).slice(0, maxRecent);
  } catch {
    return []; // no storage, or not ours
  }
}

/** remember puts a filter first. */
export function remember(where: string): void {
  if (where.length > maxLength) return;
  keep([where, ...recent().filter((f) => f !== where)].slice(0, maxRecent));
}

/** forget removes them all. */
export function forget(): void {
  keep([]);
}

function keep(filters: string[]): void {
  try {
    localStorage.setItem(key, JSON.stringify(filters));
  } catch {
    // Without storage there are none.
  }
}
