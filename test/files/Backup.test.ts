import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as TestClock from "effect/TestClock"
import { AtomicFile, Backup } from "effect-recovery/files"
import { temporaryFolder } from "../support/files.js"

const inFolder = <A, E>(use: (file: string, folder: string) => Effect.Effect<A, E>) =>
  Effect.scoped(
    Effect.flatMap(temporaryFolder, (folder) => use(path.join(fs.realpathSync(folder), "outbox.json"), folder))
  )

const day = 86_400_000

describe("Backup", () => {
  it.effect("restore brings back content and permissions, or removes a file that did not exist", () =>
    inFolder((file, folder) =>
      Effect.gen(function* () {
        const absent = yield* Backup.take(file)
        fs.writeFileSync(file, "old \0 bytes")
        fs.chmodSync(file, 0o640)
        fs.symlinkSync("outbox.json", path.join(folder, "link"))
        const backup = yield* Backup.take(path.join(folder, "link"), { label: "TASK-1" })
        assert.strictEqual(backup.path, file)
        yield* AtomicFile.write(file, "new")
        fs.chmodSync(file, 0o600)
        yield* Backup.restore(backup)
        assert.strictEqual(fs.readFileSync(file, "utf8"), "old \0 bytes")
        assert.strictEqual(fs.statSync(file).mode & 0o7777, 0o640)
        yield* Backup.restore(absent)
        assert.isFalse(fs.existsSync(file))
        yield* Backup.restore(absent)
        yield* Backup.restore(backup)
        assert.strictEqual(fs.readFileSync(file, "utf8"), "old \0 bytes")
      })
    )
  )

  it.effect("list returns the newest first, filtered by label, also in another process", () =>
    inFolder((file, folder) =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* Backup.list(file), [])
        const taken: Array<Backup.Backup> = []
        for (const label of ["a", "b", "a"]) {
          yield* TestClock.adjust("1 second")
          yield* AtomicFile.write(file, label)
          taken.push(yield* Backup.take(file, { label }))
        }
        assert.deepStrictEqual(yield* Backup.list(file), [...taken].reverse())
        assert.deepStrictEqual(
          (yield* Backup.list(file, { label: "a" })).map(({ id }) => id),
          [taken[2]?.id, taken[0]?.id]
        )
        // One folder may hold backups of several files.
        const shared = path.join(folder, "backups")
        yield* Backup.take(file, { folder: shared })
        const other = path.join(folder, "other")
        yield* Backup.take(other, { folder: shared })
        assert.strictEqual((yield* Backup.list(other, { folder: shared })).length, 1)
        assert.deepStrictEqual((yield* Backup.list(file)).length, 3)
      })
    )
  )

  it.effect("expire removes by age and number, and never the newest", () =>
    inFolder((file) =>
      Effect.gen(function* () {
        for (let i = 0; i < 6; i++) {
          yield* AtomicFile.write(file, String(i))
          yield* Backup.take(file)
          yield* TestClock.adjust(day)
        }
        const left = Effect.map(Backup.list(file), (all) => all.length)
        assert.strictEqual(yield* Backup.expire(file, {}), 0)
        assert.strictEqual(yield* Backup.expire(file, { keep: 4 }), 2)
        assert.strictEqual(yield* Backup.expire(file, { olderThan: "3 days" }), 1)
        assert.strictEqual(yield* left, 3)
        assert.strictEqual(yield* Backup.expire(file, { olderThan: "1 hour", keep: 1 }), 2)
        const [newest] = yield* Backup.list(file)
        yield* Backup.restore(newest as Backup.Backup)
        assert.strictEqual(fs.readFileSync(file, "utf8"), "5")
        assert.strictEqual(fs.readdirSync(`${path.dirname(file)}/.outbox.json.backups`).length, 2)
      })
    )
  )

  it.effect("a damaged record and foreign files hide no backup, are named in a warning, and stay", () =>
    inFolder((file) =>
      Effect.gen(function* () {
        yield* AtomicFile.write(file, "1")
        const first = yield* Backup.take(file)
        yield* TestClock.adjust("1 second")
        const second = yield* Backup.take(file)
        const at = (name: string) => path.join(first.folder, name)
        fs.writeFileSync(at("2027-settings.json"), `{"of":"another program"}`)
        fs.writeFileSync(at("notes.data"), "of another program")
        fs.utimesSync(at("notes.data"), 1, 1)
        fs.mkdirSync(at("folder.json"))
        fs.writeFileSync(at(`${second.id}.json`), `{"path":`)
        const warnings: Array<string> = []
        const logger = Logger.make(({ message }) => void warnings.push(String(message)))
        const listed = yield* Backup.list(file).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
        assert.deepStrictEqual(listed, [first])
        assert.strictEqual(warnings.length, 3)
        for (const name of ["2027-settings.json", "folder.json", `${second.id}.json`]) {
          assert.isTrue(
            warnings.some((text) => text.includes(at(name))),
            name
          )
        }
        yield* Backup.restore(first)
        yield* Backup.expire(file, { keep: 1, olderThan: "1 day" })
        assert.includeMembers(fs.readdirSync(first.folder), ["2027-settings.json", "notes.data", `${second.id}.json`])
      })
    )
  )

  it.effect("a project that is renamed, or reached through a link, finds its backups", () =>
    inFolder((file, folder) =>
      Effect.gen(function* () {
        const project = path.join(fs.realpathSync(folder), "project")
        fs.mkdirSync(project)
        const outbox = (of: string) => path.join(of, "outbox.json")
        const shared = (of: string) => ({ folder: path.join(of, "backups") })
        yield* AtomicFile.write(outbox(project), "old")
        const beside = yield* Backup.take(outbox(project))
        yield* Backup.take(outbox(project), shared(project))
        // As earlier versions wrote it: with the full path.
        const record = path.join(beside.folder, `${beside.id}.json`)
        const { path: relative, ...rest } = JSON.parse(fs.readFileSync(record, "utf8"))
        assert.strictEqual(relative, "../outbox.json")
        yield* TestClock.adjust("1 second")
        const next = yield* Backup.take(outbox(project))
        fs.writeFileSync(record, JSON.stringify({ path: outbox(project), ...rest }))

        const renamed = `${project}-renamed`
        fs.renameSync(project, renamed)
        fs.symlinkSync(renamed, `${project}-link`)
        for (const of of [renamed, `${project}-link`]) {
          const ids = (all: ReadonlyArray<Backup.Backup>) => all.map(({ id }) => id)
          assert.deepStrictEqual(ids(yield* Backup.list(outbox(of))), [next.id, beside.id])
          const [found] = yield* Backup.list(outbox(of), shared(of))
          fs.writeFileSync(outbox(of), "new")
          yield* Backup.restore(found as Backup.Backup)
          assert.strictEqual(fs.readFileSync(outbox(renamed), "utf8"), "old")
        }
        assert.isFalse(fs.existsSync(project))
        assert.deepStrictEqual(yield* Backup.list(file), [])
      })
    )
  )

  it.effect("a changed or truncated backup is a Damaged error with its path", () =>
    inFolder((file) =>
      Effect.gen(function* () {
        yield* AtomicFile.write(file, "old")
        const backup = yield* Backup.take(file)
        const data = path.join(backup.folder, `${backup.id}.data`)
        fs.writeFileSync(data, "older")
        const changed = yield* Effect.flip(Backup.restore(backup))
        assert.deepInclude(changed, { reason: "Damaged", path: data })
        assert.strictEqual(fs.readFileSync(file, "utf8"), "old")
        fs.rmSync(data)
        assert.strictEqual((yield* Effect.flip(Backup.restore(backup))).reason, "NotFound")
        assert.strictEqual((yield* Effect.flip(Backup.take(path.dirname(file)))).reason, "NotAFile")
      })
    )
  )
})
