// The sample capture, whose story testdata/README.md tells, and what the servers logged of it.

import { readFileSync } from "node:fs";
import { requests } from "../src/lib/kind";
import { testdata, type Serving } from "./serving";
import type { AggregateAnswer, Doc, SearchAnswer } from "../src/lib/types";

/** sample are the arguments that import it. Packets and bodies are kept, so that they can be downloaded. */
export const sample = [
  ...["-r", testdata("sample/shop.pcapng.zst"), "--config", testdata("sample/culprit.yaml")],
  ...["--geoip", testdata("sample/places.mmdb"), "--keep-packets", "100MiB", "--reveal", "--max-body", "64KiB"],
];

interface Hop {
  requests: number;
  status: Record<string, number>;
  routes: Record<string, number>;
  slow?: Record<string, number>;
}

/** logged is what nginx, HAProxy and the app servers counted themselves. */
export const logged = JSON.parse(readFileSync(testdata("sample/expected.json"), "utf8")) as {
  edge: Hop;
  lb: Omit<Hop, "routes">;
  apps: [Hop, Hop];
};

/** What the clients of the shop did: their exchanges with its edge. */
export const edge = `service == "edge" and ${requests}`;
export const apps = `service in ["app-1", "app-2"] and ${requests}`;
/** When app-1 was slow. */
export const slow = { from: "2026-11-02T09:31:15.000Z", to: "2026-11-02T09:32:20.000Z" };

/** at writes the path of a view with parameters. */
export function at(view: string, parameters: Record<string, string>): string {
  return `/${view}?${new URLSearchParams(parameters)}`;
}

/** aggregate asks the API for groups, in its own words. */
export function aggregate(serving: Serving, parameters: Record<string, string>): Promise<AggregateAnswer> {
  return serving.get<AggregateAnswer>(at("api/aggregate", { limit: "1000", ...parameters }));
}

/** search asks the API for exchanges. */
export async function search(serving: Serving, parameters: Record<string, string>): Promise<Doc[]> {
  return (await serving.get<SearchAnswer>(at("api/exchanges", parameters))).exchanges;
}
