// Who looks for holes: guesses from what clients ask for and who they say they are. Each says why, and none is proof.

import { metric, name, type Group } from "../../lib/totals";

/** Paths that nobody asks for but to find out whether there is a hole, with what they look for. */
export const probes: { pattern: string; what: string }[] = [
  { pattern: "/\\.(env|git|svn|hg|aws|ssh|htpasswd|DS_Store)", what: "files that shouldn't be served" },
  { pattern: "/(wp-login|xmlrpc|wp-admin|wp-content/plugins|wp-config)", what: "WordPress" },
  { pattern: "/(phpmyadmin|pma|adminer|mysqladmin)", what: "database administration" },
  { pattern: "/(phpinfo|info|shell|cmd|eval-stdin|config)\\.php", what: "PHP scripts" },
  { pattern: "/cgi-bin/|/boaform/|/HNAP1|/GponForm|/setup\\.cgi", what: "routers" },
  { pattern: "/(actuator|manager/html|jenkins|solr/admin|_ignition|owa/|autodiscover)", what: "consoles" },
  { pattern: "\\.\\./|%2e%2e|/etc/passwd|win\\.ini", what: "files outside" },
  { pattern: "\\.(bak|old|sql|swp|tar\\.gz)$", what: "copies left behind" },
];

/** Programs that scan, by their user agents. */
export const scannerAgents =
  "sqlmap|nikto|nmap|masscan|zgrab|nuclei|wpscan|dirbuster|gobuster|dirb|ffuf|feroxbuster|hydra|acunetix|nessus|openvas|arachni|whatweb|wfuzz|jndi|censys|expanse|zmeu|morfeus|l9explore|leakix";

const any = (patterns: string[]) => `(?i)(${patterns.join("|")})`;

/** probeFilter finds requests for such paths, agentFilter those of such programs. */
export const probeFilter = `path matches \`${any(probes.map((p) => p.pattern))}\``;
export const agentFilter = `user_agent matches \`${any([scannerAgents])}\``;

/** whatFor says what a path looks for. */
export function whatFor(path: string): string {
  return probes.find((p) => new RegExp(p.pattern, "i").test(path))?.what ?? "";
}

/** From so many requests, and such a part of 404 and so many paths, a client looks around. */
const enough = { requests: 20, missing: 0.5, paths: 10 };

export interface Suspect {
  client: string;
  requests: number;
  reasons: string[];
  /** How much speaks against it: for the order. */
  weight: number;
}

interface Found {
  /** By client, with distinct(path). */
  clients: Group[];
  /** 404 by client. */
  missing: Group[];
  /** Probes by client and path. */
  probed: Group[];
  /** Scanners by client and user agent. */
  agents: Group[];
  /** Addresses that serve: proxies only pass on what others ask for. */
  servers: Set<string>;
}

/** suspects puts together what is known of each client, the most suspicious first. */
export function suspects({ clients, missing, probed, agents, servers }: Found): Suspect[] {
  const all = new Map<string, Suspect>();
  const of = (client: string): Suspect => {
    let s = all.get(client);
    if (!s) {
      s = { client, requests: 0, reasons: [], weight: 0 };
      all.set(client, s);
    }
    return s;
  };
  const texts = (groups: Group[]) => {
    const by = new Map<string, string[]>();
    for (const g of groups) by.set(name(g.keys[0]), [...(by.get(name(g.keys[0])) ?? []), name(g.keys[1])]);
    return by;
  };
  for (const [client, list] of texts(agents)) {
    const s = of(client);
    s.reasons.push(`says that it is ${list.slice(0, 2).join(", ")}`);
    s.weight += 3;
  }
  for (const [client, paths] of texts(probed)) {
    const s = of(client);
    const what = [...new Set(paths.map(whatFor).filter(Boolean))];
    const more = paths.length > 3 ? ` and ${paths.length - 3} more` : "";
    s.reasons.push(`asked for ${paths.slice(0, 3).join(", ")}${more} (${what.join(", ")})`);
    s.weight += Math.min(paths.length, 6);
  }
  const notFound = new Map(missing.map((g) => [name(g.keys[0]), g.count]));
  for (const g of clients) {
    const client = name(g.keys[0]);
    const n = notFound.get(client) ?? 0;
    const paths = metric(g, "distinct(path)") ?? 0;
    if (g.count >= enough.requests && n >= enough.missing * g.count && paths >= enough.paths) {
      const s = of(client);
      s.reasons.push(`${n} of its ${g.count} requests were for what isn't there (404), ${paths} different paths`);
      s.weight += 4 * (n / g.count);
    }
    const known = all.get(client);
    if (known) known.requests = g.count;
  }
  return [...all.values()]
    .filter((s) => s.client && !servers.has(s.client))
    .sort((a, b) => b.weight - a.weight || b.requests - a.requests);
}
