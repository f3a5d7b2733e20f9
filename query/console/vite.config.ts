import { defineConfig } from "vitest/config";

// The server that answers `/api` while the console is developed: `WEIR=http://127.0.0.1:9470 npm run dev`.
const server = process.env["WEIR"] ?? "http://127.0.0.1:9470";

export default defineConfig({
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "dist",
    emptyOutDir: true,
    // Browsers that have `light-dark()` in CSS.
    target: ["chrome123", "firefox120", "safari17.5"],
    modulePreload: { polyfill: false },
    // Nothing in the page may be inline: the policy of its contents forbids it.
    assetsInlineLimit: 0,
    reportCompressedSize: true,
  },
  server: { proxy: { "/api": server } },
  // The limit is there for a test that hangs: a loaded machine is no reason to fail.
  test: { include: ["src/**/*.test.{ts,tsx}"], testTimeout: 60_000 },
});
