// Who calls whom, of three tables: what is served, the calls of those who serve themselves, and those of all others.
//
// A node is a service: its name where the configuration gives one, else the process that serves, else address and port.
// Who serves at one address and calls from it is one node, so that a proxy stands between its clients and its servers.

import { metric, name, type Group } from "../../lib/totals";

export interface Node {
  id: string;
  label: string;
  /** Where it is reached: addresses and ports. */
  at: string[];
  kind: "clients" | "caller" | "service";
  /** Databases, caches and servers of names: what they speak. */
  speaks?: string;
}

export interface Edge {
  from: string;
  to: string;
  /** Each row's numbers stand for themselves; those of several can be added, but for percentiles. */
  rows: Group[];
  count: number;
  /** What is counted, of how many kinds there are: statements of a database, lookups, or requests. */
  what: What;
  errors: number;
  /** No percentile of the whole is larger than the largest of its parts. */
  p90: number | null;
}

export type What = "request" | "statement" | "lookup" | "call";

const names = ["dns", "mdns", "llmnr"];

/** whatOf is what is counted of what a database, a cache or a server of names speaks; undefined: HTTP. */
export function whatOf(spoken: string | undefined): What {
  return spoken === undefined ? "request" : names.includes(spoken) ? "lookup" : "statement";
}

export interface Graph {
  nodes: Node[];
  edges: Edge[];
}

export const outside = "clients";

interface Tables {
  /** By server, port, service, process. */
  served: Group[];
  /** By client, its process, server, port: of clients that are among the servers. */
  inner: Group[];
  /** By the client's service, server, port: of all others. */
  outer: Group[];
  /** What is spoken at the sockets of databases, caches and servers of names. */
  spoken: Map<string, string>;
}

const loopback = (address: string) => address.startsWith("127.") || address === "::1";

/** socket writes an address with its port. */
export function socket(server: string, port: string): string {
  return server.includes(":") ? `[${server}]:${port}` : `${server}:${port}`;
}

export function graph({ served, inner, outer, spoken }: Tables): Graph {
  const nodes = new Map<string, Node>();
  const edges = new Map<string, Edge>();
  const add = (id: string, label: string, kind: Node["kind"], at?: string): string => {
    const n = nodes.get(id) ?? { id, label, kind, at: [] };
    if (at && !n.at.includes(at)) n.at.push(at);
    nodes.set(id, n);
    return id;
  };
  // What is served at a socket, and who is at an address.
  const bySocket = new Map<string, string>();
  const byAddress = new Map<string, Set<string>>();
  const byProcess = new Map<string, string>();
  for (const g of served) {
    const [server, port, service, process] = g.keys.map(name) as [string, string, string, string];
    const at = socket(server, port);
    // Several processes may serve one socket, one after the other: the first has the most requests.
    const known = bySocket.get(at);
    const id = known ?? (service ? `service ${service}` : process ? `process ${process} ${server}` : `socket ${at}`);
    bySocket.set(at, add(id, service || (process ? `${process} ${at}` : at), "service", at));
    nodes.get(bySocket.get(at)!)!.speaks ??= spoken.get(at);
    byAddress.set(server, (byAddress.get(server) ?? new Set()).add(id));
    if (process) byProcess.set(`${process} ${server}`, id);
  }
  const join = (from: string, to: string, g: Group) => {
    const key = JSON.stringify([from, to]);
    const what = whatOf(spoken.get(socket(name(g.keys.at(-2)), name(g.keys.at(-1)))));
    const e = edges.get(key) ?? { from, to, rows: [], count: 0, what, errors: 0, p90: null };
    const p90 = metric(g, "p90(duration)");
    e.rows.push(g);
    if (e.what !== what) e.what = "call";
    e.count += g.count;
    e.errors += metric(g, "errors") ?? 0;
    if (p90 !== null) e.p90 = Math.max(e.p90 ?? 0, p90);
    edges.set(key, e);
  };
  const target = (server: string, port: string) => {
    const at = socket(server, port);
    return bySocket.get(at) ?? add(`socket ${at}`, at, "service", at);
  };
  for (const g of inner) {
    const [client, process, server, port] = g.keys.map(name) as [string, string, string, string];
    const there = byAddress.get(client);
    const same = process ? byProcess.get(`${process} ${client}`) : undefined;
    // Everybody on a host has the loopback's address: only a process tells them apart.
    const alone = there?.size === 1 && !loopback(client) ? [...there][0] : undefined;
    const from =
      same ?? alone ?? add(`caller ${process} ${client}`, process ? `${process} ${client}` : client, "caller", client);
    join(from, target(server, port), g);
  }
  for (const g of outer) {
    const [service, server, port] = g.keys.map(name) as [string, string, string];
    const from = service ? add(`service ${service}`, service, "caller") : add(outside, "clients", "clients");
    join(from, target(server, port), g);
  }
  return { nodes: [...nodes.values()], edges: [...edges.values()].sort((a, b) => b.count - a.count) };
}

/** inSet writes the filter that a client is, or isn't, one of some addresses. */
export function inSet(addresses: string[], not = false): string {
  return `client ${not ? "not in" : "in"} [${addresses.map((a) => JSON.stringify(a)).join(", ")}]`;
}
