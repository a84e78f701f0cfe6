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
  by: string[];
  /** When the first bucket begins, the width of the buckets in nanoseconds, and how many there are. */
  start: Stamp;
  interval: number;
  buckets: number;
  series: Series[];
  other: { groups: number; count: number; counts: number[] };
  total: Totals;
  cost: Cost;
}

export interface HeatmapAnswer {
  field: string;
  unit: string;
  start: Stamp;
  interval: number;
  buckets: number;
  bands: { from: number; to: number; count: number; counts: number[]; errors: number[] }[];
  /** Exchanges that lack the field. */
  missing: number;
  total: number;
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
  /** What culprit itself takes; what the system doesn't tell is null. */
  process: {
    cpu: number | null;
    rss: number | null;
    peak_rss: number | null;
    threads: number | null;
    goroutines: number;
    started: Stamp;
    uptime: number;
  } | null;
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
  /** Counted over so many nanoseconds; null: it has just begun, or ended. */
  rates: { packets: number; bytes: number; exchanges: number; over: number } | null;
  /** How far files are read, in bytes; size is null when it isn't known. null: it is a live capture. */
  import: { read: number; size: number | null; first: Stamp | null; last: Stamp | null; files: number } | null;
  /** Every limit, also those that weren't hit. */
  limits: { limit: string; count: number; what: string }[] | null;
  /** Of one moment of the capture, at. Packets received = analysed + ignored + dropped. */
  totals: {
    at: Stamp | null;
    received: number;
    bytes: number;
    dropped: { kernel: number; interface: number };
    analysed: number;
    ignored: Record<string, number>;
    connections: Record<string, number>;
    missing_bytes: number;
    gaps: number;
  } | null;
  redaction: { lumped: number; unlisted: number };
  enrichment: {
    user_agents: number;
    geoip_errors: number;
    lookups: number;
    lookups_failed: number;
    lookups_skipped: number;
  } | null;
  kept_packets: {
    received: number;
    written: number;
    deleted: number;
    other: number;
    cut: number;
    dropped: number;
    failed: number;
    files: number;
    bytes: number;
    oldest: Stamp | null;
  } | null;
}

/** The bodies of an exchange, laid out by their media types; null: nothing of one was kept. */
export interface BodiesAnswer {
  request: LaidOut | null;
  response: LaidOut | null;
}

/** Plain text, in which nothing is escaped. */
export interface LaidOut {
  form: "" | "text" | "json" | "form" | "multipart" | "messages" | "events" | "binary";
  lines: string[];
  notes: string[];
  /** What a binary body looks like, and the digest of what was kept of it. */
  kind?: string;
  sha256?: string;
  cut: boolean;
}

/** What is under way now: /api/inflight. */
export interface InFlightAnswer {
  running: boolean;
  /** The time of the capture; null: no packet came yet. */
  now: Stamp | null;
  total: number;
  left_out: number;
  exchanges: UnderWay[];
}

export interface UnderWay {
  state: string;
  verb: string;
  subject: string;
  /** How long it has been under way, in nanoseconds. */
  elapsed: number;
  request_bytes: number;
  response_bytes: number;
  exchange: Doc;
}

export interface Difference {
  field: string;
  label: string;
  unit?: string;
  /** Of a range: its smallest value, and to the first above it. */
  value: Key;
  to?: number;
  selected: number;
  rest: number;
  selected_share: number;
  rest_share: number;
  score: number;
  /** The filter for it; "" when that would be too long. */
  where: string;
}

export interface DifferencesAnswer {
  selected: number;
  rest: number;
  differences: Difference[];
  /** How many more there are. */
  more: number;
  fields: string[];
  /** What the selection is made by, and what wasn't looked at for another reason. */
  asked: string[];
  left_out: { field: string; why: string }[];
  cut: { field: string; values: number }[];
  cost: Cost;
}

export interface HostAnswer {
  /** It is measured now. */
  on: boolean;
  problem: string;
  start: Stamp;
  interval: number;
  buckets: number;
  samples: number;
  lost: number;
  damaged: number;
  processors: number;
  memory_total: number;
  interfaces: string[];
  /** Samples were looked at from then on only; null: all of the range. */
  looked_from: Stamp | null;
  /** Processes that used little may be missing. */
  processes_pruned: boolean;
  series: {
    name: string;
    unit: string;
    label: string;
    values: (number | null)[];
    max?: (number | null)[];
    min?: (number | null)[];
  }[];
  processes: {
    pid: number;
    start: Stamp;
    name: string;
    cpu: (number | null)[];
    cpu_max: (number | null)[];
    rss: (number | null)[];
  }[];
}

/** Page loads, inferred: /api/pages. */
export interface PagesAnswer {
  pages: PageLoad[];
  /** More pages began in the time, before the last one given. */
  more: boolean;
  /** Pages left out, since they are others seen again behind a proxy. */
  further_in: number;
  looked_at: number;
  /** Of the exchanges looked at, those that belong to no page. */
  unassigned: number;
  /** There were older exchanges that weren't looked at. */
  truncated: boolean;
  cost: Cost;
}

export interface PageLoad {
  /** event.id of the document. */
  id: string;
  url: string;
  client: string;
  forwarded_for: string;
  user_agent: string;
  browser: string;
  start: Stamp;
  load: number | null;
  ttfb: number | null;
  requests: number;
  bytes: number;
  errors: number;
  complete: boolean;
  prefetched: boolean;
  confidence: number;
  inferred: boolean;
  left_out: number;
  resources: PageResource[];
}

export interface PageResource {
  id: string;
  start: Stamp;
  /** Nanoseconds from the start of the page. */
  offset: number;
  duration: number | null;
  timing: {
    connect: number | null;
    tls: number | null;
    idle: number | null;
    send: number | null;
    wait: number | null;
    receive: number | null;
  };
  method: string;
  target: string;
  host: string;
  status: number | null;
  type: string;
  bytes: number;
  why: string;
  confidence: number;
  in_load: boolean;
  /** Why it isn't in the load. */
  apart: string;
}

/** Statements by template, tables, or names that were asked for: /api/statements. Times are nanoseconds. */
export interface StatementsAnswer {
  by: string;
  sort: string;
  rows: Statement[];
  /** The rows beyond the limit. */
  other: StatementFigures & { groups: number };
  total: StatementFigures;
  /** Left out, since they wait for an event, or were pushed. */
  waiting: number;
  cost: Cost;
}

export interface StatementFigures {
  count: number;
  rate: number | null;
  errors: number | null;
  error_rate: number | null;
  p50: number | null;
  p95: number | null;
  p99: number | null;
  max: number | null;
  total_time: number | null;
  /** Part of all the time that the list is about. */
  share: number | null;
  rows: number | null;
  rows_mean: number | null;
  rows_max: number | null;
  bytes: number | null;
}

export interface Statement extends StatementFigures {
  key: Key;
  system: Key;
  database: Key;
  operation: Key;
  type: Key;
  protocol: Key;
  first: Stamp | null;
  last: Stamp | null;
  /** event.id of the one that took longest. */
  slowest: string | null;
  /** The filter for it; "" when that would be too long. */
  where: string;
}

/** What is asked over and over to answer one request, inferred: /api/repeats. */
export interface RepeatsAnswer {
  repeats: Repeat[];
  more: number;
  looked_at: number;
  left_out: number;
  truncated: boolean;
  cost: Cost;
}

/** What isn't a total is of the request in which it took longest. */
export interface Repeat {
  parent: { id: string; method: string; route: string; start: Stamp; duration: number };
  protocol: string;
  template: string;
  count: number;
  sure: number;
  expected: number;
  failed: number;
  time: number;
  busy: number;
  share: number;
  confidence: number;
  sequential: boolean;
  at_once: number;
  first: string;
  last: string;
  where: string;
  requests: number;
  total_count: number;
  total_time: number;
}

/** The tree of what one request caused, linked when it is asked for: /api/traces/{id}. */
export interface TraceAnswer {
  id: string;
  root: string;
  /** The node that is to blame; null: nobody is, or it is unclear. */
  culprit: string | null;
  /** Parents before their children, and these by when they began. */
  nodes: TraceNode[];
  left_out: number;
  /** Clocks of taps against that of the root, in nanoseconds. */
  offsets: { tap: string; offset: number; bound: number; samples: number }[];
  from: Stamp;
  to: Stamp;
  looked_at: number;
  /** There was more in this time than was looked at. */
  truncated: boolean;
  cost: Cost;
}

export type HopMethod = "root" | "id" | "header" | "process" | "content" | "timing";

export interface TraceNode {
  id: string;
  parent: string | null;
  depth: number;
  method: HopMethod;
  confidence: number;
  role: "call" | "lookup" | "retry" | "redirect";
  /** The attempt, or the redirect, before it. */
  earlier: string | null;
  /** It began after the answer of its parent had ended. */
  async: boolean;
  protocol: string;
  verb: string;
  target: string;
  route: string;
  host: string;
  status: number | null;
  failed: boolean;
  grade: string;
  client: string;
  server: string;
  service: string;
  process: string;
  tap: string;
  start: Stamp;
  /** Nanoseconds from the start of the root; duration and self are nanoseconds as well. */
  offset: number;
  duration: number;
  self: number;
  /** The same exchange at other taps, from the client to the server. */
  seen: { id: string; tap: string; duration: number }[];
  /** The network between the first tap and the last, there and back. */
  network: { request: number; response: number } | null;
  /** Why the chain goes on where no packet was seen. */
  unseen: string;
  blame: {
    who: string;
    situation: string;
    time: number;
    share: number;
    confidence: number;
    upstream: string;
    why: string;
    evidence: string[];
  } | null;
}

/** Which ways requests took, by host and route: /api/routes. */
export interface RoutesAnswer {
  routes: RoutedAs[];
  /** Routes beyond the limit. */
  more: number;
  requests: number;
  /** Requests of routes that aren't told apart. */
  others: number;
  /** Exchanges that no request was seen for. */
  apart: number;
  looked_at: number;
  /** There were older exchanges that weren't looked at. */
  truncated: boolean;
  cost: Cost;
}

export interface RouteFigures {
  count: number;
  errors: number;
  p50: number | null;
  p99: number | null;
  total_time: number;
}

export interface RoutedAs extends RouteFigures {
  host: string;
  route: string;
  methods: { method: string; count: number }[];
  /** Each is followed by those that came after it, one deeper. */
  steps: RouteStep[];
  more_steps: number;
}

export interface RouteStep extends RouteFigures {
  depth: number;
  name: string;
  protocol: string;
  /** Where it is another than before. */
  route: string;
  service: string;
  process: string;
  tap: string;
  server: string;
  /** Requests that had it, and those of which it was the last of a chain. */
  requests: number;
  ended: number;
  unseen: string;
}
