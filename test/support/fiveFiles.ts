import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { FileTransaction } from "effect-recovery/files"

/** Five files that the transaction changes, and one that stays. */
export const prepareFiles = (root: string): void => {
  fs.mkdirSync(path.join(root, "archive"))
  for (const [name, mode] of [
    ["replaced", 0o640],
    ["removed", 0o600],
    ["moved", 0o755],
    ["archive/moved", 0o444],
    ["protected", 0o604],
    ["untouched", 0o644]
  ] as const) {
    fs.writeFileSync(path.join(root, name), `old ${name}`)
    fs.chmodSync(path.join(root, name), mode)
  }
}

export const changeFiles = Effect.gen(function* () {
  yield* FileTransaction.write("replaced", "new replaced")
  yield* FileTransaction.makeDirectory("made")
  yield* FileTransaction.write("made/created", "new created", { mode: 0o660 })
  yield* FileTransaction.remove("removed")
  yield* FileTransaction.move("moved", "archive/moved")
  const at = yield* FileTransaction.protect("protected")
  // In place, like a program without transactions.
  fs.writeFileSync(at, "new protected")
  fs.chmodSync(at, 0o777)
})
