import * as os from "node:os"
import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"
import { SlowestFirst } from "./test/support/slowestFirst.js"

const src = (file: string) => fileURLToPath(new URL(`./src/${file}`, import.meta.url))

export default defineConfig({
  resolve: {
    alias: [
      { find: /^effect-recovery$/, replacement: src("index.ts") },
      { find: /^effect-recovery\/(.+)$/, replacement: src("$1.ts") }
    ]
  },
  test: {
    include: ["test/**/*.test.ts", "templates/*/test/*.test.ts"],
    globalSetup: [
      "test/support/built.ts",
      "test/support/postgresSetup.ts",
      "test/support/tablesSetup.ts",
      "test/support/bundlesSetup.ts"
    ],
    // Only a hang meets these limits: tests wait for events, so a busy machine makes them slow but not wrong.
    testTimeout: 600_000,
    hookTimeout: 600_000,
    pool: "forks",
    // Files share a process for each processor: in one of its own, each file loads effect and the library for a second.
    poolOptions: { forks: { isolate: false, maxForks: os.availableParallelism() } },
    sequence: { sequencer: SlowestFirst },
    setupFiles: ["test/support/ownBreakers.ts"],
    // Tests start thousands of workers, and each says what it works on.
    onConsoleLog: (log) =>
      log.split("\n").every((line) => line === "" || line.includes("Worker starts: ")) ? false : undefined
  }
})
