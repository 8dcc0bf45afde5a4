// Bundles the compiled doors for Node into few files: Node takes as long to find and read the 210 modules of the main door
// as to do so for half of `effect`. Other packages stay outside. Bundlers for browsers take the modules, which they can
// leave out one by one; modules that only doors for Node reach are removed.
// The bundles keep the names of functions, for stack traces, so only white space goes: esbuild would keep short names apart
// from the original ones by a call for each closure, each time one is made. The lines are short enough for Node to print
// the one that failed.
// Each module of the main door also gets a path of its own, since esbuild keeps all of a namespace that a door exports.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { build } from "esbuild"
import { doors, folders } from "./exports.mjs"

const { metafile } = await build({
  entryPoints: doors.map(({ module }) => module),
  outdir: "dist/node",
  chunkNames: "chunk-[hash]",
  splitting: true,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  packages: "external",
  minifyWhitespace: true,
  lineLimit: 120,
  metafile: true,
  // It names the folder it lies in.
  external: ["./dist/dashboard/internal/pageFolder.js"]
})

const kept = new Set()
const keep = (file) => {
  if (kept.has(file)) return
  kept.add(file)
  for (const { external, path } of metafile.inputs[file].imports) if (!external) keep(path)
}
for (const { module, needsNode } of doors) if (!needsNode) keep(join(module).replaceAll("\\", "/"))
for (const file of Object.keys(metafile.inputs)) if (!kept.has(file)) rmSync(file)

/** For Node: the members of the door's namespace, so that a class is one, by whichever path it is imported. */
const forNode = (name, members) => `import { ${name} as module } from "../index.js"
const { ${members.map((member) => `${member}: ${member}_`).join(", ")} } = module
export { ${members.map((member) => `${member}_ as ${member}`).join(", ")} }
`

const main = await import("../dist/node/index.js")
for (const folder of Object.values(folders)) mkdirSync(folder, { recursive: true })
for (const [, name, file] of readFileSync("dist/index.d.ts", "utf8").matchAll(
  /^export \* as (\w+) from "\.(.+)";$/gm
)) {
  const source = `export * from "..${file}"\n`
  for (const extension of ["d.ts", "js"]) writeFileSync(join(folders.types, `${name}.${extension}`), source)
  writeFileSync(join(folders.node, `${name}.js`), forNode(name, Object.keys(main[name])))
}
