import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { constants, gzipSync } from "node:zlib";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";

/** Replaces the files of the build by their gzip forms, which is all that is embedded in the program. */
function compress(): Plugin {
  const files = (dir: string): string[] =>
    readdirSync(dir).flatMap((name) => {
      const path = join(dir, name);
      return statSync(path).isDirectory() ? files(path) : [path];
    });
  let out = "";
  return {
    name: "compress",
    apply: "build",
    configResolved(config) {
      out = resolve(config.root, config.build.outDir);
    },
    closeBundle() {
      let total = 0;
      for (const path of files(out)) {
        const packed = gzipSync(readFileSync(path), { level: constants.Z_BEST_COMPRESSION });
        writeFileSync(path + ".gz", packed);
        rmSync(path);
        total += packed.length;
      }
      writeFileSync(join(out, ".gitkeep"), ""); // the folder is there without a build, too
      console.log(`${total} bytes, compressed`);
    },
  };
}

// npm run dev shows a culprit serve that runs already: CULPRIT_URL and CULPRIT_TOKEN are what it has printed.
const { CULPRIT_URL = "http://127.0.0.1:9870", CULPRIT_TOKEN = "" } = process.env;

export default defineConfig({
  plugins: [svelte(), compress()],
  server: {
    proxy: {
      "/api": { target: CULPRIT_URL, changeOrigin: true, headers: { Authorization: `Bearer ${CULPRIT_TOKEN}` } },
    },
  },
  build: {
    outDir: "../internal/web/ui/dist",
    emptyOutDir: true,
    copyPublicDir: false,
    target: "es2022",
    // Pages may load nothing but what the server has: no data: URLs, no inline code.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 300,
  },
});
