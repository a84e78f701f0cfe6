// The test to use for specs of views: culprit serve runs with the capture that the spec asks for, the page is opened
// in the way that users open it, and whatever the browser complains about fails the test.

import { expect, test as base, type Page } from "@playwright/test";
import { Serving, testdata } from "./serving";

export { expect };
export * from "./serving";

/** Args are arguments of culprit serve: test.use({ args: ["-r", testdata("demo.pcap")] }). */
export interface Shared {
  args: string[];
  /** One run of culprit for all tests of a file that have the same args. Files are imported when it is given. */
  culprit: Serving;
}

export interface Own {
  /** open goes to a path, such as /overview?last=all, of culprit or of another run, with the token. */
  open: (path: string, at?: Serving) => Promise<void>;
  /** faults of the page: the test fails when there are any. */
  faults: Faults;
}

/** Faults collects what a page must not do. */
export class Faults {
  readonly all: string[] = [];
  #expected: RegExp[] = [];

  /** expect says that the browser is going to complain so, as it does about each answer with status 400. */
  expect(pattern: RegExp): void {
    this.#expected.push(pattern);
  }

  add(fault: string): void {
    this.all.push(fault);
  }

  get unexpected(): string[] {
    return this.all.filter((fault) => !this.#expected.some((pattern) => pattern.test(fault)));
  }

  /** watch collects of a page: errors, violations of its policy, dialogs, and what it asks other servers for. */
  async watch(page: Page, origin: string): Promise<void> {
    const local = ["data:", "blob:", "about:"];
    page.on("console", (m) => m.type() === "error" && this.add(`console: ${m.text()}`));
    page.on("pageerror", (e) => this.add(`error: ${e.stack ?? e.message}`));
    page.on("request", (r) => {
      const url = new URL(r.url());
      if (url.origin !== origin && !local.includes(url.protocol)) this.add(`asks another server: ${r.url()}`);
    });
    page.on("dialog", (d) => {
      this.add(`dialog: ${d.message()}`);
      void d.dismiss();
    });
    await page.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (e) =>
        console.error(`violates ${e.violatedDirective}: ${e.blockedURI} ${e.sample}`),
      );
    });
  }
}

export const test = base.extend<Own, Shared>({
  args: [["-r", testdata("demo.pcap")], { option: true, scope: "worker" }],

  culprit: [
    async ({ args }, use) => {
      const serving = await Serving.start(args);
      try {
        if (args.includes("-r")) await serving.imported();
        await use(serving);
      } finally {
        await serving.stop();
      }
    },
    { scope: "worker" },
  ],

  faults: async ({}, use) => {
    await use(new Faults());
  },

  open: async ({ page, culprit, faults }, use, info) => {
    const watched = new Set<string>();
    await use(async (path, at = culprit) => {
      if (!watched.has(at.origin)) await faults.watch(page, at.origin);
      watched.add(at.origin);
      const url = new URL(path, at.origin);
      url.searchParams.set("token", at.token);
      await page.goto(url.href);
    });
    if (info.status !== info.expectedStatus && culprit.messages) {
      await info.attach("culprit's messages", { body: culprit.messages, contentType: "text/plain" });
      console.error(culprit.messages);
    }
    expect(faults.unexpected, "the browser complains").toEqual([]);
  },
});
