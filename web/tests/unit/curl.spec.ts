import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import { curl, quote } from "../../src/lib/curl";
import type { Doc } from "../../src/lib/types";
import { captured, hostile, numbers } from "./wire";

// A program that is called curl writes what it was called with: the arguments with their lengths, and its input.
let folder = "";
test.beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "curl-spec-"));
  writeFileSync(
    join(folder, "curl"),
    `#!${process.execPath}
const fs = require("node:fs");
const line = fs.readFileSync("/proc/self/cmdline").toString("latin1").split("\\0").slice(2, -1);
const input = process.argv.includes("@-") ? fs.readFileSync(0).toString("latin1") : "";
fs.writeFileSync(1, JSON.stringify({ line, input }));
`,
  );
  chmodSync(join(folder, "curl"), 0o755);
});
test.afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Call {
  line: string[];
  input: string;
}

function run(command: string, environment: Record<string, string> = {}): Call {
  const shell = spawnSync("sh", ["-c", command], {
    env: { PATH: `${folder}:${process.env.PATH}`, ...environment },
    cwd: folder,
  });
  expect(shell.stderr.toString(), command).toBe("");
  expect(shell.status, command).toBe(0);
  return JSON.parse(shell.stdout.toString("utf8")) as Call;
}

const latin = (b: Uint8Array) => Buffer.from(b).toString("latin1");

test("a word is the bytes that were sent, whatever they are", () => {
  const random = numbers(1);
  for (let round = 0; round < 20; round++) {
    const words = Array.from({ length: 40 }, () => hostile(random));
    words.push(...Array.from({ length: 5 }, (_, i) => Uint8Array.from({ length: 51 }, (_, k) => 1 + i * 51 + k)));
    const { line } = run("curl " + words.map((w) => quote(captured(w))).join(" "));
    expect(line).toEqual(words.map(latin));
  }
});

test("what is typed into a terminal has no control characters but line ends", () => {
  const random = numbers(2);
  for (let i = 0; i < 500; i++) {
    // eslint-disable-next-line no-control-regex
    expect(quote(captured(hostile(random)))).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/);
  }
});

function doc(method: string, target: string, headers: Record<string, string[]>, body?: string): Doc {
  const length = body === undefined ? 0 : Buffer.byteLength(body);
  return {
    server: { ip: "10.0.0.2", port: 8000 },
    url: { original: target, domain: "shop.example" },
    http: {
      version: "1.1",
      request: { method, headers, body: { bytes: length, ...(body === undefined ? {} : { content: body }) } },
    },
    culprit: { http: { request: body === undefined ? {} : { decoded_bytes: length } } },
  };
}

/** after gives what follows each of an option. */
const after = (line: string[], option: string) => line.flatMap((a, i) => (a === option ? [line[i + 1]!] : []));

test("a request", () => {
  const { line } = run(
    curl(
      doc("GET", "/a/../b?c=[1]", {
        host: ["shop.example"],
        "user-agent": ["Bob's"],
        accept: ["*/*"],
        "x-a": ["1", ""],
      }),
    ).text,
  );
  expect(line).toEqual([
    "--globoff",
    "--path-as-is",
    "--connect-to",
    "::10.0.0.2:8000",
    "-H",
    "user-agent: Bob's",
    "-H",
    "accept: */*",
    "-H",
    "x-a: 1",
    "-H",
    "x-a;",
    "http://shop.example/a/../b?c=[1]",
  ]);
});

test("what curl would add is taken away, and what it makes itself is left to it", () => {
  const { line } = run(
    curl(doc("POST", "/", { host: ["other.example"], "content-length": ["3"], connection: ["close"] }, "a=b")).text,
  );
  expect(after(line, "-H")).toEqual(["host: other.example", "user-agent:", "accept:", "content-type:"]);
  expect(after(line, "--data-raw")).toEqual(["a=b"]);
  expect(line).not.toContain("-X");
});

test("a target that no URL can say", () => {
  for (const target of ["*", "shop.example:443", "http://x/ y", "/a b", "/#", "/\\xff", "/é"]) {
    const { line } = run(curl(doc("OPTIONS", target, { host: ["shop.example"] })).text);
    expect(line.at(-1)).toBe("http://shop.example/");
    const sent = target === "/\\xff" ? "/\xff" : target === "/é" ? latin(Buffer.from("/é")) : target;
    expect(after(line, "--request-target")).toEqual([sent]);
  }
});

test("secrets become variables, without which nothing runs", () => {
  const d = doc("GET", "/?key=…[redacted 7 #1a2b]", {
    host: ["shop.example"],
    authorization: ["Bearer …[redacted 15 #4f2a]"],
  });
  const { text, remarks } = curl(d);
  const { line } = run(text, { SECRET_4f2a: "it's $(x)", SECRET_1a2b: "k" });
  expect(after(line, "-H")).toContain("authorization: Bearer it's $(x)");
  expect(line.at(-1)).toBe("http://shop.example/?key=k");
  expect(remarks.join("\n")).toContain("SECRET_4f2a first: 15 bytes");
  expect(remarks.join("\n")).toContain("SECRET_1a2b first: 7 bytes");
  const without = spawnSync("sh", ["-c", text], { env: { PATH: `${folder}:${process.env.PATH}`, SECRET_4f2a: "x" } });
  expect(without.status).not.toBe(0);
  expect(without.stdout.toString()).toBe("");
});

test("headers that curl would take for something else are left out, and told", () => {
  const { text, remarks } = curl(
    doc("GET", "/", {
      host: ["shop.example"],
      "@/etc/passwd": [""],
      "x y": ["1"],
      "x-cr": ["a\rb"],
      "x-nul": ["a\0b"],
    }),
  );
  expect(after(run(text).line, "-H")).toEqual(["user-agent:", "accept:"]);
  expect(remarks).toHaveLength(4);
});

test("bodies of any bytes, and only whole ones", () => {
  const random = numbers(3);
  for (let i = 0; i < 30; i++) {
    const bytes = Buffer.concat([hostile(random), Uint8Array.of(0, 1, 255), hostile(random), Buffer.from("\n\n")]);
    const d = doc("PUT", "/", { host: ["shop.example"] }, "x") as any;
    d.http.request.body = { bytes: bytes.length, content: captured(bytes) };
    d.culprit.http.request.decoded_bytes = bytes.length;
    const call = run(curl(d).text);
    expect(after(call.line, "--data-binary")).toEqual(["@-"]);
    expect(call.input).toBe(latin(bytes));
  }
  const d = doc("POST", "/", { host: ["shop.example"] }, "abc") as any;
  delete d.culprit.http.request.decoded_bytes;
  const { text, remarks } = curl(d);
  expect(text).not.toContain("data");
  expect(remarks.join()).toContain("only its beginning");
});

test("a body that begins with @ is no file", () => {
  const { line } = run(curl(doc("POST", "/", { host: ["shop.example"] }, "@/etc/passwd")).text);
  expect(after(line, "--data-raw")).toEqual(["@/etc/passwd"]);
});

test("a request that came by TLS, over HTTP/2", () => {
  const d: Doc = {
    ...doc("GET", "/a", { ":method": ["GET"], ":authority": ["shop.example"], ":path": ["/a"], "user-agent": ["x"] }),
    server: { ip: "10.0.0.2", port: 443 },
    tls: { version: "1.3" },
  };
  (d["http"] as Doc)["version"] = "2";
  const { line } = run(curl(d).text);
  expect(after(line, "-H")).toEqual(["user-agent: x", "accept:"]);
  expect(after(line, "--connect-to")).toEqual(["::10.0.0.2:443"]);
  expect(line).toContain("--http2");
  expect(line.at(-1)).toBe("https://shop.example/a");
});
