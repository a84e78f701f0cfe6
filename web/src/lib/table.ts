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
