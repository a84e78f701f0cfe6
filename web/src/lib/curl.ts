// An exchange's request as a command for a POSIX shell: whatever bytes were sent, the shell runs curl with these
// arguments and nothing else.

import { bodyOf } from "./body";
import { bytesOf, mark, pieces } from "./captured";
import { field, number, text } from "./doc";
import { headersOf } from "./headers";
import type { Doc } from "./types";

export interface Command {
  text: string;
  /** What isn't as it was sent, or is to be done first: one sentence each. */
  remarks: string[];
}

/** Larger bodies aren't written into commands. */
export const largestBody = 1 << 20;

/** Headers that curl makes itself, or that say how this message was framed. */
const made = new Set([
  "content-length",
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "te",
  "upgrade",
  "trailer",
]);

/** Pseudo-headers of HTTP/2: the URL, the method and the name of the server say them. */
const pseudo = (name: string) => name.startsWith(":");

/** What curl adds unless it is told not to. */
const added = ["user-agent", "accept"];

/** curl writes the command that sends the request of an exchange again, to the server that it was sent to. */
export function curl(doc: Doc): Command {
  const remarks: string[] = [];
  const secrets = new Map<string, number>();
  const word = (s: string) => quote(s, secrets);

  const args: string[] = [];
  const method = text(doc, "http.request.method") || "GET";
  const headers = headersOf(doc, "request");
  const named = headers.filter(([name]) => name === "host");
  const hosts = named.length > 0 ? named : headers.filter(([name]) => name === ":authority");
  const body = bodyOf(doc, "request");
  const sends = body !== undefined && body.content !== "" && body.whole && body.kept <= largestBody && !body.coding;
  if (body && !sends) remarks.push(why(body));

  // The address: where the request went, whatever name it asked for.
  const { url, target, to } = address(doc);
  if (to) args.push("--connect-to " + word(to));
  if (target !== undefined) args.push("--request-target " + word(target));

  if (method === "HEAD" && !sends) args.push("--head");
  else if (method !== (sends ? "POST" : "GET")) args.push("-X " + word(method));
  const secure = schemeOf(doc) === "https";
  const version: Record<string, string> = {
    "1.0": "--http1.0",
    "1.1": secure ? "--http1.1" : "",
    "2": secure ? "--http2" : "--http2-prior-knowledge",
  };
  const option = version[text(doc, "http.version")];
  if (option) args.push(option);

  if (hosts.length !== 1 || `${schemeOf(doc)}://${hosts[0]![1]}` !== url.split("/").slice(0, 3).join("/")) {
    if (hosts.length === 0) args.push("-H 'Host:'");
    for (const [, value] of hosts) header("host", value);
  }
  for (const [name, value] of headers) if (name !== "host" && !pseudo(name) && !made.has(name)) header(name, value);
  for (const name of sends ? [...added, "content-type"] : added) {
    if (!headers.some(([n]) => n === name)) args.push(`-H '${name}:'`);
  }
  if (headers.some(([name]) => name === "accept-encoding")) args.push("--compressed");

  const last = word(url);
  let before = "";
  if (sends) {
    if (plainWord(body.content)) args.push("--data-raw " + word(body.content));
    else {
      // The shell has no words with such bytes; printf writes them.
      before = `printf '%b' ${word(bytesForPrintf(body.content))} | `;
      args.push("--data-binary @-");
    }
  }
  for (const [secret, n] of secrets) {
    remarks.push(`Set SECRET_${secret} first: ${n} bytes that culprit has hidden.`);
  }
  return { text: `${before}curl --globoff --path-as-is ${[...args, last].join(" \\\n  ")}`, remarks };

  function header(name: string, value: string) {
    // curl reads "@file" as the name of a file, and a line end would begin another header.
    if (!/^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(name)) {
      remarks.push("A header is left out whose name isn't one.");
    } else if (/[\0\r\n]/.test(unescaped(value))) {
      remarks.push(`The header ${name} is left out: it has characters that curl can't send.`);
    } else {
      args.push("-H " + word(value === "" ? `${name};` : `${name}: ${value}`));
    }
  }
}

/** schemeOf is https for what came by TLS, whatever the request says of itself. */
function schemeOf(doc: Doc): "http" | "https" {
  return field(doc, "tls") === undefined ? "http" : "https";
}

/** address is the URL, the request target where a URL can't say it, and where to connect to. */
function address(doc: Doc): { url: string; target?: string; to?: string } {
  const ip = text(doc, "server.ip");
  const scheme = schemeOf(doc);
  const usual = scheme === "https" ? 443 : 80;
  const port = number(doc, "server.port") ?? usual;
  const server = `${ip.includes(":") ? `[${ip}]` : ip}:${port}`;
  const original = text(doc, "url.original") || "/";
  const vhost = text(doc, "url.domain");
  const asked = number(doc, "url.port");
  let host = /^[0-9A-Za-z._-]+$/.test(vhost) ? vhost : /^[0-9a-fA-F:.]+$/.test(vhost) ? `[${vhost}]` : server;
  if (host !== server && asked !== undefined && asked !== usual) host += `:${asked}`;
  const here = `${host}${/:\d+$/.test(host) ? "" : `:${usual}`}`;
  const to = here === server || ip === "" ? undefined : `::${server}`;
  // A URL says paths without a fragment or bytes that curl would refuse or change; the rest is said as it is.
  if (/^\/[!$%&'()*+,\-./0-9:;=?@A-Z[\]_a-z{}~|^`]*$/.test(original.replace(mark, ""))) {
    return { url: `${scheme}://${host}${original}`, to };
  }
  return { url: `${scheme}://${host}/`, target: original, to };
}

function why(body: { content: string; whole: boolean; kept: number; coding: string }): string {
  if (body.content === "") return "The body is left out: it wasn't kept (--max-body).";
  if (!body.whole) return "The body is left out: only its beginning was kept (--max-body).";
  if (body.coding) return `The body is left out: it was sent as ${body.coding}, and is kept decoded.`;
  return "The body is left out: it is too large for a command.";
}

/** unescaped is a text whose escaped bytes are characters of the same number, to look for some. */
function unescaped(s: string): string {
  return s.replace(/\\x([0-9a-f]{2})/g, (_, n: string) => String.fromCharCode(parseInt(n, 16)));
}

/** plainWord says that a text can be an argument: no byte 0, and short enough for all systems. */
function plainWord(s: string): boolean {
  return s.length < 30_000 && !unescaped(s).includes("\0");
}

/** What isn't typed into a terminal as it is: control characters, and those that aren't seen or turn others around. */
const unsafe =
  // eslint-disable-next-line no-control-regex
  /[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb\ud800-\udfff]/;

/**
 * quote writes a captured text as one word of a POSIX shell, which is the bytes that were sent. Hidden secrets become
 * variables, without which the command isn't run.
 */
export function quote(captured: string, secrets = new Map<string, number>()): string {
  const words = pieces(captured).map((p) => {
    if ("secret" in p) {
      secrets.set(p.secret, p.bytes);
      return `"\${SECRET_${p.secret}:?}"`;
    }
    return quoteText(p.text);
  });
  return words.join("") || "''";
}

function quoteText(captured: string): string {
  let out = "";
  let open = false;
  const toggle = (wanted: boolean) => {
    if (open !== wanted) out += "'";
    open = wanted;
  };
  let octal: number[] = [];
  const flush = () => {
    if (octal.length === 0) return;
    toggle(false);
    out += `"$(printf '${octal.map((b) => "\\" + b.toString(8).padStart(3, "0")).join("")}')"`;
    octal = [];
  };
  for (const part of captured.split(/(\\x[0-9a-f]{2})/)) {
    if (/^\\x[0-9a-f]{2}$/.test(part) && part !== "\\x5c") {
      octal.push(parseInt(part.slice(2), 16));
      continue;
    }
    for (const c of part === "\\x5c" ? "\\" : part) {
      if (unsafe.test(c) && c.length === 1) {
        octal.push(...bytesOf(c));
        continue;
      }
      flush();
      if (c === "'") {
        toggle(false);
        out += "\\'";
      } else {
        toggle(true);
        out += c;
      }
    }
  }
  flush();
  toggle(false);
  return out;
}

/** bytesForPrintf writes the argument of printf '%b' that is these bytes, but for the marks of secrets. */
function bytesForPrintf(captured: string): string {
  return pieces(captured)
    .map((p) => {
      if ("secret" in p) return `…[redacted ${p.bytes} #${p.secret}]`;
      return Array.from(bytesOf(p.text), (b) =>
        (b >= 0x20 && b < 0x7f && b !== 0x5c) || b === 0x0a
          ? String.fromCharCode(b)
          : "\\0" + b.toString(8).padStart(3, "0"),
      ).join("");
    })
    .join("");
}

/** requestOf reports whether there is a request to write a command of. */
export function requestOf(doc: Doc): boolean {
  return field(doc, "http.request") !== undefined;
}
