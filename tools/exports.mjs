// What package.json exports, for the tools that build and check it.
import { readdirSync, readFileSync } from "node:fs"

const { exports } = JSON.parse(readFileSync("package.json", "utf8"))
const entries = Object.entries(exports).filter(([, { types }]) => types !== undefined)

/** The doors, with the module that each is compiled to. The doors without a `default` need Node. */
export const doors = entries
  .filter(([path]) => !path.includes("*"))
  .map(([path, { default: browser, node, types }]) => {
    return { path, node, types, module: types.replace(/\.d\.ts$/, ".js"), needsNode: browser === undefined }
  })

/** Where the modules of the main door have paths of their own, which `*` in the exports names. */
export const folders = { types: "dist/modules", node: "dist/node/modules" }

/** Needs a build: the paths of single modules, with their declarations. */
export const modulePaths = () =>
  readdirSync(folders.types)
    .filter((file) => file.endsWith(".d.ts"))
    .map((file) => ({ path: `./${file.replace(/\.d\.ts$/, "")}`, types: `./${folders.types}/${file}` }))
