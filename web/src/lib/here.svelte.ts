// Where we are: the address bar is the state. Every view is /VIEW?..., and a link reproduces what is seen.
//
//   where, text       the filter, and a text to look for
//   last | from, to   the time range; none: see range.svelte.ts
//   live              refresh while time goes on
//   open              the exchange whose pane is open
//   others            a view's own

import type { Params } from "./api";

/** These go along from view to view. */
const shared = ["where", "text", "last", "from", "to", "live"];

class Here {
  #path = $state(location.pathname);
  #query = $state(location.search);

  readonly view = $derived(decoded(this.#path.split("/")[1] ?? ""));
  readonly id = $derived(decoded(this.#path.split("/")[2] ?? ""));
  readonly params = $derived(new URLSearchParams(this.#query));

  /** get reads a parameter; "" when it isn't there. */
  get(name: string): string {
    return this.params.get(name) ?? "";
  }

  /** link writes the URL of a view with the shared parameters, changed as told. */
  link(view: string, change: Params = {}): string {
    const query = new URLSearchParams();
    for (const name of shared) {
      const value = this.params.get(name);
      if (value !== null) query.set(name, value);
    }
    return `/${view}${write(query, change)}`;
  }

  /** with writes the URL of this view with parameters changed; null and "" remove one. */
  with(change: Params): string {
    return this.#path + write(new URLSearchParams(this.#query), change);
  }

  /** set changes parameters. replace: without a new entry in the history, for what changes by itself or with every key. */
  set(change: Params, replace = false): void {
    this.go(this.with(change), replace);
  }

  go(url: string, replace = false): void {
    if (url === this.#path + this.#query) return;
    history[replace ? "replaceState" : "pushState"](null, "", url);
    this.read();
  }

  /** read takes over what the address bar says. */
  read(): void {
    this.#path = location.pathname;
    this.#query = location.search;
  }
}

/** decoded is a part of a path; as it stands, when it isn't UTF-8. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function write(query: URLSearchParams, change: Params): string {
  for (const [name, value] of Object.entries(change)) {
    if (value == null || value === "" || value === false) query.delete(name);
    else query.set(name, value === true ? "1" : String(value));
  }
  const text = query.toString();
  return text && `?${text}`;
}

export const here = new Here();

/** follow has links within the page change the view without loading it anew. */
export function follow(): void {
  addEventListener("popstate", () => here.read());
  addEventListener("click", (e) => {
    const a = e.target instanceof Element ? e.target.closest("a") : null;
    if (!a || e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
    if (a.target || a.hasAttribute("download") || a.origin !== location.origin || a.pathname.startsWith("/api/"))
      return;
    // To a place on this page the browser goes by itself.
    if (a.hash && a.pathname === location.pathname && a.search === location.search) return;
    e.preventDefault();
    here.go(a.pathname + a.search);
  });
}
