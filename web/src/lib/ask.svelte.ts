// Asking while things change: a question that is computed from state is asked again when it changes, the one before is
// aborted, and what was answered stays until the next answer, so that nothing flickers.

import { untrack } from "svelte";
import { get, Problem } from "./api";

/** After this many milliseconds without an answer something says that it takes time. */
const slowAfter = 300;

/** The questions of all parts of the page that aren't answered yet. */
const open = new Set<AbortController>();

/** asking says that something isn't answered yet. What renews the page by itself waits for it, or slow answers never come. */
export function asking(): boolean {
  return open.size > 0;
}

/** So often a question is asked again that the server had no place for, because others ran. */
const tries = 8;

/** patiently asks again, when the server says that too much is asked at once: it was the page's own other parts. */
async function patiently<T>(asked: string, signal: AbortSignal): Promise<T> {
  for (let tried = 1; ; tried++) {
    try {
      return await get<T>(asked, signal);
    } catch (e) {
      if (!(e instanceof Problem) || e.status !== 429 || tried >= tries) throw e;
      await new Promise((done) => setTimeout(done, 500 * tried + 500 * Math.random()));
      signal.throwIfAborted();
    }
  }
}

export class Ask<T> {
  /** The last answer; of an earlier question while busy. */
  data = $state.raw<T>();
  /** What went wrong with the last question. */
  problem = $state.raw<Problem>();
  busy = $state(false);
  /** It takes longer than people take for at once. */
  slow = $state(false);
  #again = $state(0);

  /**
   * question gives the URL to ask, or undefined while there is nothing to ask; again changes when the same question is to
   * be asked anew, such as range.ticks. It is called within a component.
   */
  constructor(question: () => string | undefined, again?: () => unknown) {
    // What a question is made of may change without changing it, as each status does the range.
    const url = $derived(question());
    $effect(() => {
      const asked = url;
      void this.#again;
      again?.();
      if (asked === undefined) {
        untrack(() => {
          this.data = this.problem = undefined;
          this.busy = this.slow = false;
        });
        return;
      }
      const abort = new AbortController();
      open.add(abort);
      this.busy = true;
      const timer = setTimeout(() => (this.slow = true), slowAfter);
      patiently<T>(asked, abort.signal)
        .then((answer) => {
          if (abort.signal.aborted) return;
          this.data = answer;
          this.problem = undefined;
        })
        .catch((e: unknown) => {
          if (abort.signal.aborted) return;
          if (!(e instanceof Problem)) throw e;
          this.problem = e;
        })
        .finally(() => {
          open.delete(abort);
          if (abort.signal.aborted) return;
          clearTimeout(timer);
          this.busy = this.slow = false;
        });
      return () => {
        clearTimeout(timer);
        abort.abort();
      };
    });
  }

  /** retry asks the same question again. */
  retry(): void {
    this.#again++;
  }
}

/** ask makes a question; see Ask. */
export function ask<T>(question: () => string | undefined, again?: () => unknown): Ask<T> {
  return new Ask<T>(question, again);
}
