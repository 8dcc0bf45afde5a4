import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const src = (file: string) => fileURLToPath(new URL(`./src/${file}`, import.meta.url))

export default defineConfig({
  resolve: {
    alias: [
      { find: /^effect-recovery$/, replacement: src("index.ts") },
      { find: /^effect-recovery\/dashboard$/, replacement: src("dashboard.ts") },
      { find: /^effect-recovery\/files$/, replacement: src("files.ts") },
      { find: /^effect-recovery\/operate$/, replacement: src("operate.ts") },
      { find: /^effect-recovery\/sqlite$/, replacement: src("sqlite.ts") },
      { find: /^effect-recovery\/testing$/, replacement: src("testing.ts") }
    ]
  },
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/built.ts"],
    testTimeout: 60_000,
    pool: "forks"
  }
})
