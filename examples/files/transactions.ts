import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { Data, Effect } from "effect"
import { Transaction } from "effect-recovery"
import { FileLock, FileTransaction } from "effect-recovery/files"

class LinterFailed extends Data.TaggedError("LinterFailed")<{ readonly page: string }> {}

const site = fs.mkdtempSync(`${os.tmpdir()}/site-`)
fs.writeFileSync(path.join(site, "draft.md"), "# Hello")
fs.writeFileSync(path.join(site, "index.md"), "nothing yet")

const publish = Effect.gen(function* () {
  yield* FileTransaction.makeDirectory("posts")
  yield* FileTransaction.move("draft.md", "posts/1.md")
  yield* FileTransaction.update("index.md", () => Effect.succeed("- Hello: posts/1.md"))
})

// Programs that change files in their own way: what they do is undone, too.
const format = Effect.gen(function* () {
  const file = yield* FileTransaction.protect("index.md")
  yield* Effect.sync(() => fs.appendFileSync(file, "\n"))
  return yield* new LinterFailed({ page: file })
})

const refused = Effect.zipRight(publish, format).pipe(FileTransaction.run(site), Effect.flip)

// Files and everything else, in one transaction: the announcement is taken back before the files are.
const log: Array<string> = []
const announce = Effect.sync(() => log.push("announced")).pipe(
  Transaction.withCompensation(() => Effect.sync(() => log.push("taken back")))
)
const withOthers = Effect.zipRight(publish.pipe(FileTransaction.run(site)), announce).pipe(
  Effect.zipRight(new LinterFailed({ page: "index.md" })),
  Transaction.run(),
  Effect.flip
)

export const program = Effect.gen(function* () {
  const errors = [(yield* refused)._tag, (yield* withOthers)._tag]
  const untouched = fs.readdirSync(site).sort()
  yield* publish.pipe(FileTransaction.run(site))
  return { errors, log, untouched, published: fs.readdirSync(site).sort() }
}).pipe(Effect.provide(FileLock.layer({ folder: fs.mkdtempSync(`${os.tmpdir()}/locks-`) })))
