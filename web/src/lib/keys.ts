// Keys that work everywhere, but in fields.

export interface Key {
  key: string;
  what: string;
  does: (e: KeyboardEvent) => void;
}

/** listen calls what the keys do. It returns what ends that. */
export function listen(keys: () => Key[]): () => void {
  const pressed = (e: KeyboardEvent) => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented) return;
    const at = e.target as HTMLElement | null;
    const typing = at?.closest("input, textarea, select, [contenteditable]");
    if (typing && e.key !== "Escape") return;
    // Enter and space belong to a button or link that has the focus.
    if ((e.key === "Enter" || e.key === " ") && at?.closest("a, button, summary, [role=tab]")) return;
    const found = keys().find((k) => k.key === e.key);
    if (!found) return;
    e.preventDefault();
    found.does(e);
  };
  addEventListener("keydown", pressed);
  return () => removeEventListener("keydown", pressed);
}
