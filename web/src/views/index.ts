// The list of all views. A view is a component, in a chunk of its own that is loaded when it is first shown, and a row
// here: docs/web.md says how to add one.

import type { Component } from "svelte";

export interface View {
  /** Its path: /overview. */
  path: string;
  title: string;
  /** One sentence for the rail's tip and the help. */
  what: string;
  /** Path of its icon, within 16 by 16, stroked. */
  icon: string;
  load: () => Promise<{ default: Component }>;
}

export const views: View[] = [
  {
    path: "overview",
    title: "Overview",
    what: "Latency over time, requests, errors, and what is different about a part of them",
    icon: "M2 13h12M4 13V8M7.3 13V3M10.6 13V6M13.5 13v-3",
    load: () => import("./overview/Overview.svelte"),
  },
  {
    path: "exchanges",
    title: "Exchanges",
    what: "Every request with its response, searched or as they complete",
    icon: "M2 4h12M2 8h12M2 12h8",
    load: () => import("./exchanges/Exchanges.svelte"),
  },
  {
    path: "services",
    title: "Services",
    what: "Who calls whom, and which routes they have",
    icon: "M3.5 8a1.5 1.5 0 1 0 0 .1M12.5 4a1.5 1.5 0 1 0 0 .1M12.5 12a1.5 1.5 0 1 0 0 .1M5 7.5l4.5-2.7M5 8.6l4.5 2.7",
    load: () => import("./services/Services.svelte"),
  },
  {
    path: "hops",
    title: "Hops",
    what: "One request through proxies, applications and databases, and which of them is to blame",
    icon: "M2 4h7M4 8h7M7 12h7M2 4v0M4 4v4M7 8v4",
    load: () => import("./hops/Hops.svelte"),
  },
  {
    path: "errors",
    title: "Errors",
    what: "What failed: statuses from 400, aborted and unanswered requests",
    icon: "M8 2.5l6 11H2zM8 6.5v3.5M8 11.6v.4",
    load: () => import("./errors/Errors.svelte"),
  },
  {
    path: "slow",
    title: "Slow",
    what: "What took longest, and in which phase",
    icon: "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0-11M8 5v3.2l2.2 1.6",
    load: () => import("./slow/Slow.svelte"),
  },
  {
    path: "databases",
    title: "Databases",
    what: "Who the application waits for: statements of databases and caches, names that it looks up, what it asks over and over",
    icon: "M3 4c0-2 10-2 10 0v8c0 2-10 2-10 0zM3 4c0 2 10 2 10 0M3 8c0 2 10 2 10 0",
    load: () => import("./databases/Databases.svelte"),
  },
  {
    path: "content",
    title: "Content",
    what: "Media types: how many, how large, how slow",
    icon: "M4 2.5h5.5L12 5v8.5H4zM9.5 2.5V5H12",
    load: () => import("./content/Content.svelte"),
  },
  {
    path: "clients",
    title: "Clients",
    what: "Where requests come from: countries, networks, browsers, bots and scanners",
    icon: "M8 2.2a5.8 5.8 0 1 0 0 11.6a5.8 5.8 0 1 0 0-11.6M2.2 8h11.6M8 2.2c-3.4 3.6-3.4 8 0 11.6c3.4-3.6 3.4-8 0-11.6",
    load: () => import("./clients/Clients.svelte"),
  },
  {
    path: "connections",
    title: "Connections",
    what: "The network: round trips, retransmissions, resets",
    icon: "M2 5.5h9M8.5 3L11 5.5L8.5 8M14 10.5H5M7.5 8L5 10.5L7.5 13",
    load: () => import("./connections/Connections.svelte"),
  },
  {
    path: "encrypted",
    title: "Encrypted",
    what: "TLS that couldn't be read, and why; handshakes that failed; certificates that end soon",
    icon: "M3.5 7.5h9v6h-9zM5.5 7.5V5a2.5 2.5 0 0 1 5 0v2.5M8 9.7v1.6",
    load: () => import("./encrypted/Encrypted.svelte"),
  },
  {
    path: "inflight",
    title: "In flight",
    what: "What is under way now, the oldest first, and what it waits for",
    icon: "M4 2.5h8M4 13.5h8M5 2.5c0 3 2 4 3 5.5c1-1.5 3-2.5 3-5.5M5 13.5c0-3 2-4 3-5.5c1 1.5 3 2.5 3 5.5",
    load: () => import("./inflight/InFlight.svelte"),
  },
  {
    path: "pages",
    title: "Pages",
    what: "Page loads of browsers, inferred from their requests",
    icon: "M2 3h12v10H2zM2 6h12M4 8.3h6M6 10.6h6",
    load: () => import("./pages/Pages.svelte"),
  },
  {
    path: "health",
    title: "Health",
    what: "What was captured, dropped, stored; limits; what culprit itself takes",
    icon: "M1.5 8.5h3l1.6-4l2.6 7.5l2-5l1 1.5h2.8",
    load: () => import("./health/Health.svelte"),
  },
];
