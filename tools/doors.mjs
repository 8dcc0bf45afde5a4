// Bundles the compiled doors for Node into few files: Node takes as long to find and read the 210 modules of the main door
// as to do so for half of `effect`. Other packages stay outside. Bundlers for browsers take the modules, which they can
// leave out one by one. The bundles are not minified and name each module, so they need no maps.

import { readFileSync } from "node:fs"
import { build } from "esbuild"

const { exports: doors } = JSON.parse(readFileSync("package.json", "utf8"))

await build({
  entryPoints: Object.values(doors).flatMap(({ default: module, node }) => (node === undefined ? [] : [module])),
  outdir: "dist/node",
  chunkNames: "chunk-[hash]",
  splitting: true,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  packages: "external",
  // It names the folder it lies in.
  external: ["./dist/dashboard/internal/pageFolder.js"]
})
