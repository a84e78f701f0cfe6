import type { Doc } from "../../lib/types";

/** GridRow is what a row of the list shows: an exchange, one that waits for its answer, or what was left out. */
export type GridRow =
  | { doc: Doc; waited?: undefined; gap?: undefined }
  | { doc: Doc; waited: number; gap?: undefined }
  | { gap: number | null; doc?: undefined; waited?: undefined };

/** Shown is a column as it is laid out. */
export interface Shown {
  key: string;
  title: string;
  what: string;
  number: boolean;
  /** A CSS grid track. */
  track: string;
  least: number;
  /** What the list is sorted by when its heading is chosen; "" when it can't be. */
  sort: string;
  /** The fields that its cells filter by. */
  filters: string[];
}
