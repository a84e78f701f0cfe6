// Asking the API. Everything is a GET; the cookie goes with it by itself.

import type { ProblemDetails } from "./types";

/** Problem is an error with what the server said about it, for people. */
export class Problem extends Error {
  constructor(readonly details: ProblemDetails) {
    super(details.detail || details.title);
  }

  get status(): number {
    return this.details.status;
  }

  /** The last part of the type: bad-filter, no-token, limit ... */
  get kind(): string {
    return this.details.type.split("#")[1] ?? "";
  }
}

export type Params = Record<string, string | number | boolean | null | undefined>;

/** url writes a question: parameters without a value are left out. */
export function url(path: string, ...params: Params[]): string {
  const query = new URLSearchParams();
  for (const [name, value] of params.flatMap((p) => Object.entries(p))) {
    if (value != null && value !== "" && value !== false) query.set(name, value === true ? "1" : String(value));
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/** get asks, and returns the answer or throws a Problem. An aborted question throws the signal's reason. */
export async function get<T>(question: string, signal?: AbortSignal): Promise<T> {
  let response: Response;
  try {
    response = await fetch(question, { signal, headers: { Accept: "application/json" } });
  } catch (e) {
    if (signal?.aborted) throw e;
    throw new Problem({
      type: "#unreachable",
      title: "culprit doesn't answer",
      status: 0,
      detail:
        "culprit serve doesn't answer: it has ended, or can't be reached any more. Start it again, and open the URL that it prints.",
    });
  }
  if (response.ok) {
    try {
      return (await response.json()) as T;
    } catch (e) {
      if (signal?.aborted) throw e;
      throw new Problem({
        type: "#cut",
        title: "The answer wasn't complete",
        status: response.status,
        detail: "The answer ended in the middle: culprit serve has ended, or the connection to it broke. Try again.",
      });
    }
  }
  let details: ProblemDetails;
  try {
    details = (await response.json()) as ProblemDetails;
  } catch {
    details = {
      type: "#unknown",
      title: response.statusText,
      status: response.status,
      detail: `The server answered ${response.status}.`,
    };
  }
  throw new Problem(details);
}
