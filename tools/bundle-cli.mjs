// Few files, so that the command line starts at once: loading hundreds of modules takes longer than what it does, and so does
// reading what a command does not need.
import { readFileSync } from "node:fs"
import { build } from "esbuild"

const { version } = JSON.parse(readFileSync("package.json", "utf8"))

await build({
  entryPoints: { recovery: "src/cli/main.ts" },
  outdir: "dist",
  outExtension: { ".js": ".mjs" },
  chunkNames: "recovery-[name]-[hash]",
  splitting: true,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  minify: true,
  legalComments: "none",
  define: { VERSION: JSON.stringify(version) },
  // Native, or of the program that uses it.
  external: ["better-sqlite3", "fs-native-extensions", "jiti"],
  // Some of what is bundled is CommonJS.
  banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' }
})
