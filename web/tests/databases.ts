// The capture of an application that asks databases, whose story testdata/databases/README.md tells, and what it counted.

import { readFileSync } from "node:fs";
import { testdata } from "./serving";

/** databases are the arguments that import it, with the records of all flows. */
export const databases = [
  ...["-r", testdata("databases/databases.pcapng")],
  ...["--flows", "all", "--max-body", "64KiB"],
];

export const asked = JSON.parse(readFileSync(testdata("databases/expected.json"), "utf8")) as {
  requests: Record<string, number>;
  statements: Record<string, number>;
  failed: Record<string, number>;
  questions: Record<string, number>;
  orders: number;
};
