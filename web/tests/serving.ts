// Running culprit serve for tests.

import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect } from "@playwright/test";
import type { Status } from "../src/lib/types";

const repository = fileURLToPath(new URL("../..", import.meta.url));

/** testdata gives the path of a file below testdata/. */
export function testdata(name: string): string {
  return join(repository, "testdata", name);
}

/** The most of a program's messages that is kept, in characters. */
const maxMessages = 64 << 10;

/** Serving is one run of culprit serve. */
export class Serving {
  readonly origin: string;
  readonly token: string;
  #messages = "";

  private constructor(
    /** What it has printed. */
    readonly url: string,
    private readonly child: ChildProcess,
  ) {
    this.origin = new URL(url).origin;
    this.token = new URL(url).searchParams.get("token") ?? "";
  }

  /** start runs culprit serve with arguments, and waits until it listens. Without --store it has an empty one. */
  static async start(args: string[]): Promise<Serving> {
    const store = args.includes("--store") ? [] : ["--store", join(folder(), "store")];
    const child = spawn(bin(), ["serve", "--listen", "127.0.0.1:0", ...store, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let messages = "";
    let s: Serving | undefined;
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      if (s) s.#messages = (s.#messages + text).slice(-maxMessages);
      else messages += text;
    });
    const lines = createInterface(child.stdout);
    const url = await new Promise<string>((resolve, reject) => {
      lines.once("line", resolve);
      child.once("error", reject);
      child.once("exit", (code) =>
        reject(new Error(`culprit serve ${args.join(" ")} ended with ${code}: ${messages}`)),
      );
    });
    s = new Serving(url, child);
    s.#messages = messages;
    return s;
  }

  /** What it wrote to standard error. */
  get messages(): string {
    return this.#messages;
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill("SIGTERM");
    await ended;
  }

  /** get asks the API. */
  async get<T>(path: string): Promise<T> {
    const response = await fetch(this.origin + path, { headers: { Authorization: `Bearer ${this.token}` } });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  }

  /** stored waits until so many exchanges are stored, and can be asked about. */
  async stored(exchanges: number): Promise<void> {
    await expect
      .poll(async () => (await this.get<Status>("/api/status")).store.exchanges, { timeout: 20_000 })
      .toBeGreaterThanOrEqual(exchanges);
  }

  /** imported waits until the files of -r are read, and stored. */
  async imported(): Promise<void> {
    const state = async () => {
      const { capture } = await this.get<Status>("/api/status");
      return capture && `${capture.state}, ${capture.stored.waiting} waiting`;
    };
    await expect.poll(state, { timeout: 20_000 }).toBe("ended, 0 waiting");
  }
}

function bin(): string {
  const path = process.env.CULPRIT_BIN;
  if (!path) throw new Error("CULPRIT_BIN isn't set: run the tests with npx playwright test");
  return path;
}

/** folder makes a folder that the program can use when it isn't root any more. It goes after all tests. */
export function folder(): string {
  const dir = mkdtempSync(join(process.env.CULPRIT_TEST_DIR ?? "/tmp", "t-"));
  chmodSync(dir, 0o755);
  return dir;
}

/** canCapture says whether this process, and what it starts, may capture packets; else why not. */
export function canCapture(): string {
  const missing = "capturing on lo needs CAP_NET_RAW: run this test as root";
  if (process.platform !== "linux") return "capturing live is for Linux";
  const capabilities = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  const netRaw = 13n;
  return (BigInt(`0x${capabilities}`) >> netRaw) & 1n ? "" : missing;
}

/** Live is a capture of the traffic of a server in this process. */
export interface Live {
  serving: Serving;
  server: Server;
  /** Where requests go. */
  port: number;
  stop: () => Promise<void>;
}

/** live starts a server on the loopback, and captures what it does. Ask canCapture first. */
export async function live(answer: RequestListener, args: string[] = []): Promise<Live> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const serving = await Serving.start([...args, "-i", "lo", "tcp", "port", String(port)]);
  await expect.poll(async () => (await serving.get<Status>("/api/status")).capture?.state).toBe("capturing");
  const stop = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await serving.stop();
  };
  return { serving, server, port, stop };
}

/** big gives a store with many exchanges, made once a run: a million with CULPRIT_SOAK=1, else 50,000. */
export async function big(): Promise<string> {
  const made = join(process.env.CULPRIT_TEST_DIR ?? "/tmp", "big");
  const done = join(made, "done");
  let mine = true;
  try {
    mkdirSync(made);
  } catch {
    mine = false; // another worker makes it
  }
  if (mine) {
    const n = process.env.CULPRIT_SOAK ? 1_000_000 : 50_000;
    const dir = join(made, "store");
    execFileSync("go", ["run", "./bench/store", "-n", String(n), "-dir", dir, "-keep", "-only", "ingest"], {
      cwd: repository,
    });
    writeFileSync(done, "");
  } else {
    await expect.poll(() => existsSync(done), { timeout: 10 * 60_000 }).toBe(true);
  }
  const copy = join(folder(), "store"); // a store has one writer
  cpSync(join(made, "store"), copy, { recursive: true });
  return copy;
}
