import * as fs from "node:fs"
import * as os from "node:os"
import { Effect, Schema } from "effect"
import { Step, Storage, Transaction, Workflow } from "effect-recovery"
import { AtomicFile, Backup } from "effect-recovery/files"

class Unhealthy extends Schema.TaggedError<Unhealthy>()("Unhealthy", { file: Schema.String }) {}

const Release = Schema.Struct({ file: Schema.String, content: Schema.String })

// The backup is the value of a step: after a crash it comes from the journal, not from the file that was changed since.
const backUp = Step.make("back up", {
  success: Backup.Backup,
  error: Backup.FileError,
  run: (file: string) => Backup.take(file, { label: "release" })
})

// The compensation gets the backup as its input, even if the step failed or was cut short.
const install = Step.make("install", {
  error: Backup.FileError,
  run: ({ backup, content }: { readonly backup: Backup.Backup; readonly content: string }) =>
    AtomicFile.write(backup.path, content),
  compensate: ({ input }) => Backup.restore(input.backup)
})

const check = Step.make("check", {
  error: Unhealthy,
  run: (file: string) =>
    fs.readFileSync(file, "utf8").includes("port") ? Effect.void : Effect.fail(new Unhealthy({ file }))
})

const Install = Workflow.make(
  "install a release",
  { input: Release, error: Schema.Union(Backup.FileError, Unhealthy) },
  ({ content, file }) =>
    Effect.gen(function* () {
      const backup = yield* backUp(file)
      yield* install({ backup, content })
      yield* check(file)
    }).pipe(Transaction.run())
)

export const program = Effect.gen(function* () {
  const file = `${fs.mkdtempSync(`${os.tmpdir()}/release-`)}/server.json`
  fs.writeFileSync(file, `{"port":80}`)
  const release = (id: string, to: string, content: string) =>
    Workflow.execute(Install, { id, input: { file: to, content } })

  const unhealthy = yield* Effect.flip(release("r1", file, `{"prot":81}`))
  const restored = fs.readFileSync(file, "utf8")
  yield* release("r2", file, `{"port":81}`)
  // The error of a file comes back as its class, also from the journal.
  const missing = yield* Effect.flip(release("r3", "/nowhere/server.json", ""))
  const again = yield* Effect.flip(release("r3", "/nowhere/server.json", ""))
  const reasons = [missing, again].map((error) => (error._tag === "FileError" ? error.reason : error._tag))
  return { unhealthy: unhealthy._tag, restored, installed: fs.readFileSync(file, "utf8"), reasons }
}).pipe(Effect.provide(Storage.layerMemory))
