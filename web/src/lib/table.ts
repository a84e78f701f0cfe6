import { value } from "./format";

/** Column is one column of a Table. */
export interface Column<T> {
  key: string;
  title: string;
  /** What it shows, as a tip. */
  what?: string;
  number?: boolean;
  class?: string;
  /** What a cell says; without it the table's snippet cell draws it. */
  text?: (row: T) => string;
  /** What rows are sorted by; without it they aren't. */
  by?: (row: T) => number | string | null | undefined;
}

/** numeric is a column of numbers in a unit (ns, byte, part, or none): aligned at their ends, and sorted by what they show. */
export function numeric<T>(
  key: string,
  title: string,
  unit: string,
  of: (row: T) => number | null | undefined,
  what?: string,
): Column<T> {
  return { key, title, what, number: true, text: (row) => value(of(row), unit), by: of };
}
