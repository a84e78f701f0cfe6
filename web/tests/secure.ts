// The capture of a shop that speaks TLS, whose story testdata/secure/README.md tells, and what its servers and clients counted.

import { readFileSync } from "node:fs";
import { testdata } from "./serving";

/** secure are the arguments that import it: the keys are in the file. */
export const secure = ["-r", testdata("secure/secure.pcapng"), "--messages", "--max-body", "64KiB"];

export const counted = JSON.parse(readFileSync(testdata("secure/expected.json"), "utf8")) as {
  requests: Record<string, number>;
  calls: Record<string, number>;
  operations: Record<string, number>;
  messages: Record<string, number>;
  unread: Record<string, number>;
  failed: Record<string, number>;
  days: Record<string, number>;
  given_up: number;
};

export const sum = (numbers: Record<string, number>) => Object.values(numbers).reduce((a, b) => a + b, 0);
