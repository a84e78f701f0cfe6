// The classes of what went wrong. Each exchange is in one at most: who cut a connection or waited in vain is counted as
// that, whatever status was on its way.

import { micros } from "../../lib/format";
import type { Buckets } from "../../lib/chart";
import type { AggregateAnswer } from "../../lib/types";

export interface Class {
  name: string;
  what: string;
  color: string;
  /** The filter for it. */
  where: string;
  of: (status: unknown, grade: unknown, outcome: unknown) => boolean;
}

const broken = ["aborted", "unanswered"];
const whole = 'grade not in ["aborted", "unanswered"]';

export const classes: Class[] = [
  {
    name: "5xx",
    what: "the server failed",
    color: "--server-error",
    where: `status in 500..599 and ${whole}`,
    of: (status, grade) => status === "5xx" && !broken.includes(String(grade)),
  },
  {
    name: "4xx",
    what: "the request was refused",
    color: "--client-error",
    where: `status in 400..499 and ${whole}`,
    of: (status, grade) => status === "4xx" && !broken.includes(String(grade)),
  },
  {
    name: "gRPC",
    what: "the answer's status is fine, but not that of gRPC within it",
    color: "--series-6",
    where: `outcome == "failure" and status < 400 and ${whole}`,
    of: (status, grade, outcome) =>
      outcome === "failure" && ["1xx", "2xx", "3xx"].includes(String(status)) && !broken.includes(String(grade)),
  },
  {
    name: "aborted",
    what: "the connection ended in the middle",
    color: "--aborted",
    where: 'grade == "aborted"',
    of: (_, grade) => grade === "aborted",
  },
  {
    name: "unanswered",
    what: "there was no answer",
    color: "--unanswered",
    where: 'grade == "unanswered"',
    of: (_, grade) => grade === "unanswered",
  },
];

/** The groups that an answer has to have. */
export const groups = "class(status),grade,outcome";

export interface Counted extends Class {
  count: number;
  counts: number[];
}

/** counted are the classes that there are, over time. */
export function counted(answer: AggregateAnswer, buckets: Buckets): Counted[] {
  const out = classes.map((c) => ({ ...c, count: 0, counts: new Array<number>(buckets.count).fill(0) }));
  const classOf = answer.groups.map((g) => out.find((c) => c.of(g.keys[0], g.keys[1], g.keys[2])));
  answer.groups.forEach((g, i) => {
    if (classOf[i]) classOf[i].count += g.count;
  });
  for (const row of answer.rows) {
    const c = classOf[row.group];
    const at = Math.round((micros(row.start) / 1000 - buckets.start) / buckets.width);
    if (c && c.counts[at] !== undefined) c.counts[at] += row.count;
  }
  return out.filter((c) => c.count > 0);
}
