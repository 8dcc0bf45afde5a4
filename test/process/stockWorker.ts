/** A process with the stock workflows that runs until it is killed. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import { engineIn } from "./stockJobs.js"

const [folder = "", ledger = "", name = ""] = process.argv.slice(2)

const works = Effect.sync(() => void fs.writeSync(1, "works\n"))

Effect.runPromise(Effect.provide(Effect.zipRight(works, Effect.never), engineIn(folder, ledger, name))).catch(
  (error) => {
    fs.writeSync(2, String(error))
    process.exit(1)
  }
)
