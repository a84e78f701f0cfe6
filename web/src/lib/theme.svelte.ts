// Light and dark: what the system has, unless the user chose.

export type Theme = "light" | "dark";

const key = "culprit-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

class ThemeState {
  #chosen = $state<Theme | null>(read());
  #system = $state<Theme>(system.matches ? "dark" : "light");
  readonly now = $derived(this.#chosen ?? this.#system);

  toggle(): void {
    this.#chosen = this.now === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(key, this.#chosen);
    } catch {
      // Without storage it holds for this page.
    }
  }

  /** begin applies the theme to the page. It is called once, within a component. */
  begin(): void {
    system.addEventListener("change", () => (this.#system = system.matches ? "dark" : "light"));
    $effect(() => {
      document.documentElement.dataset.theme = this.now;
    });
  }
}

function read(): Theme | null {
  try {
    const t = localStorage.getItem(key);
    return t === "light" || t === "dark" ? t : null;
  } catch {
    return null;
  }
}

export const theme = new ThemeState();

/** color reads one of the colours of app.css, for canvases. Use theme.now beside it, so that it is read again. */
export function color(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
