// The list whose exchanges the keys j and k, and the arrows of the pane, move through. The view that shows exchanges
// says what they are.

import { here } from "./here.svelte";

export interface Listed {
  /** at gives the event.id of a row, or undefined while it isn't loaded. */
  at(row: number): string | undefined;
  readonly rows: number;
  /** show scrolls a row into view. */
  show?(row: number): void;
}

class List {
  #of = $state.raw<Listed>();
  /** The row that the keys have reached, -1: none. */
  row = $state(-1);

  /** use is called by a view within a component, for as long as that is shown. */
  use(listed: Listed): void {
    $effect(() => {
      this.#of = listed;
      this.row = -1;
      return () => {
        if (this.#of === listed) this.#of = undefined;
      };
    });
  }

  /** move goes so many rows down; an open pane shows the new row. */
  move(by: number): void {
    const l = this.#of;
    if (!l || l.rows === 0) return;
    this.row = Math.min(Math.max(this.row + by, 0), l.rows - 1);
    l.show?.(this.row);
    const id = l.at(this.row);
    if (here.get("open") && id) here.set({ open: id }, true);
  }

  /** open shows the reached row in the pane. */
  open(): void {
    const id = this.#of?.at(this.row);
    if (id) here.set({ open: id });
  }

  /** choose reaches a row and opens it. */
  choose(row: number): void {
    this.row = row;
    this.open();
  }
}

export const list = new List();
