// The headers of documents: names in lower case, with their values in the order in which they were sent.

import { field, number, text } from "./doc";
import { quote } from "./expr";
import type { Doc } from "./types";

export type Side = "request" | "response";

/** values reads the values of a header. Names are in lower case. */
export function values(headers: unknown, name: string): string[] {
  if (typeof headers !== "object" || headers === null || !Object.hasOwn(headers, name)) return [];
  const v = (headers as Record<string, unknown>)[name];
  return Array.isArray(v) ? v.map(String) : [];
}

/** headersOf lists headers: each line of its own, in the order of their names' first line. */
export function headersOf(doc: Doc, side: Side): [name: string, value: string][] {
  const headers = field(doc, `http.${side}.headers`);
  if (typeof headers !== "object" || headers === null) return [];
  return Object.entries(headers).flatMap(([name, all]) =>
    (Array.isArray(all) ? all : [all]).map((v): [string, string] => [name, String(v)]),
  );
}

/** headerClause writes the condition that a header has a value. */
export function headerClause(side: Side, name: string, value: string, exclude = false): string {
  const c = `${side}_header(${quote(name)}) == ${quote(value)}`;
  return exclude ? `not (${c})` : c;
}

type Lines = [name: string, value: string][];

/** What gRPC sends behind the messages. */
const grpcTrailers = new Set(["grpc-status", "grpc-message", "grpc-status-details-bin"]);

/**
 * ordered lists headers with the pseudo-headers of HTTP/2 first, and the trailers apart, as far as these are known: those
 * that Trailer announces, and gRPC's where there are messages before them.
 */
export function ordered(doc: Doc, side: Side): { head: Lines; trailers: Lines } {
  const all = headersOf(doc, side);
  const announced = new Set(
    all
      .filter(([name]) => name === "trailer")
      .flatMap(([, value]) => value.split(","))
      .map((name) => name.trim().toLowerCase()),
  );
  const grpc =
    text(doc, `http.${side}.mime_type`).startsWith("application/grpc") &&
    (number(doc, `http.${side}.body.bytes`) ?? 0) > 0;
  const trails = (name: string) => announced.has(name) || (grpc && grpcTrailers.has(name));
  const pseudo = (name: string) => name.startsWith(":");
  const head = all.filter(([name]) => !trails(name));
  return {
    head: [...head.filter(([name]) => pseudo(name)), ...head.filter(([name]) => !pseudo(name))],
    trailers: all.filter(([name]) => trails(name)),
  };
}
