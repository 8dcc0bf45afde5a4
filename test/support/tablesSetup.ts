import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import type { TestProject } from "vitest/node"
import { store } from "../../src/storage/sqlite/SqliteStorage.js"

declare module "vitest" {
  export interface ProvidedContext {
    /** A file of SQLite with the tables of the storage and nothing else. */
    readonly tables: string
  }
}

/** Tests copy this file: the migrations of an empty one take four times as long as a test's first look at a copy. */
export default async (project: TestProject) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "effect-recovery-"))
  const filename = path.join(folder, "tables.db")
  await Effect.runPromise(Effect.scoped(store({ filename, durability: "process-crash" })))
  project.provide("tables", filename)
  return () => fs.rmSync(folder, { recursive: true, force: true })
}
