import * as fs from "node:fs"
import * as path from "node:path"
import type { TestProject } from "vitest/node"

declare module "vitest" {
  export interface ProvidedContext {
    /** A folder for the programs of `bundle`, which build one when the first test asks for it. */
    readonly bundles: string
  }
}

/** Each bundle takes over a second of processor time, and some programs serve the suites of five storages. */
export default (project: TestProject) => {
  const folder = path.resolve("node_modules/.cache/effect-recovery", `${process.pid}`)
  const empty = () => {
    fs.rmSync(folder, { recursive: true, force: true })
    fs.mkdirSync(folder, { recursive: true })
  }
  empty()
  // `vitest --watch` runs tests again after a change of the sources.
  project.onTestsRerun(empty)
  project.provide("bundles", folder)
  return () => fs.rmSync(folder, { recursive: true, force: true })
}
