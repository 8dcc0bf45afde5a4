import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const src = (file: string) => fileURLToPath(new URL(`../../src/${file}`, import.meta.url))

export default defineConfig({
  resolve: {
    alias: [
      { find: /^effect-recovery$/, replacement: src("index.ts") },
      { find: /^effect-recovery\/(.+)$/, replacement: src("$1.ts") }
    ]
  },
  // The validation suite uses the globals of the test runner.
  test: { globals: true }
})
