// What the API answers with: internal/web/openapi.yaml is the contract.

/** A time as the API writes it: RFC 3339 in UTC, with nanoseconds. */
export type Stamp = string;

/** The value of a group; null: the exchanges have none. */
export type Key = string | number | boolean | null;

export interface Cost {
  rows: number;
  skipped: number;
  stored: number;
  bytes: number;
  elapsed: number;
}

/** A document: nested objects by the Elastic Common Schema. docs/fields.md lists the fields; field() reads one. */
export interface Doc {
  [name: string]: unknown;
}

export interface SearchAnswer {
  exchanges: Doc[];
  next: string;
  cost: Cost;
}

export interface Totals {
  count: number;
  values: Record<string, number | null>;
}

export interface AggregateAnswer {
  by: string[];
  interval: number;
  groups: (Totals & { keys: Key[] })[];
  rows: (Totals & { group: number; start: Stamp })[];
  other: Totals & { groups: number };
  total: Totals;
  cost: Cost;
}

export interface Series {
  key: Key;
  count: number;
  counts: number[];
  values: Record<string, (number | null)[]>;
}

export interface HistogramAnswer {
  from: Stamp;
  to: Stamp;
  /** Width of the buckets, in nanoseconds. */
  interval: number;
  starts: Stamp[];
  series: Series[];
  other: Series | null;
  cost: Cost;
}

export interface HeatmapAnswer {
  from: Stamp;
  to: Stamp;
  interval: number;
  starts: Stamp[];
  field: string;
  bands: { from: number; to: number; count: number; counts: number[]; errors: number[] }[];
  cost: Cost;
}

export interface TermsAnswer {
  field: string;
  terms: (Totals & { value: Key })[];
  cost: Cost;
}

export interface Field {
  name: string;
  /** How filters write it. */
  filter: string;
  aliases: string[];
  kind: string;
  unit: string;
  meaning: string;
  source: string;
  sortable: boolean;
  groupable: boolean;
  numeric: boolean;
}

export interface FilterAnswer {
  ok: boolean;
  canonical: string;
  fields: string[];
  /** position and length are in bytes of UTF-8. */
  error?: { message: string; position: number; length: number };
}

export interface CompleteAnswer {
  values: { value: Key; count: number }[];
}

/** A problem, by RFC 9457. */
export interface ProblemDetails {
  type: string;
  title: string;
  status: number;
  detail: string;
  parameter?: string;
  position?: number;
  length?: number;
}

export interface Status {
  version: string;
  now: Stamp;
  /** Packets are kept; reveal: they can be downloaded. */
  packets: boolean;
  reveal: boolean;
  store: {
    exchanges: number;
    first?: Stamp;
    last?: Stamp;
    bytes: number;
    log_bytes: number;
    segments: number;
    tail: number;
    damaged: number;
    lost: number;
    duplicates: number;
    expired: number;
    problem: string;
  };
  /** null: nothing is captured or imported, only what was stored before is served. */
  capture: CaptureStatus | null;
  live: { subscribers: number; left_out: number };
}

export interface CaptureStatus {
  state: "capturing" | "importing" | "ended";
  since: Stamp;
  from: string[];
  bytes: number;
  packets: { received: number; dropped: { kernel: number; interface: number } };
  exchanges: {
    seen: number;
    grades: Record<string, number>;
    left_out: { where: number; processes: number; unknown_processes: number };
  };
  stored: {
    added: number;
    stored: number;
    already_stored: number;
    waiting: number;
    lost: { queue: number; store: number };
  };
  /** Events a second over the last seconds, while it runs. */
  rates?: { packets: number; exchanges: number } | null;
  /** How far files are read, in bytes; size is null when it isn't known. */
  progress?: { read: number; size: number | null } | null;
}
