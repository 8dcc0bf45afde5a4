import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { makeOwner } from "../../host/owner.js"
import type { StorageError } from "../../storage/StorageError.js"
import type { Store } from "../../storage/Store.js"
import { type Ended, ended } from "../exit.js"
import { bold, type Screen, screenOf } from "../render/screen.js"
import { table } from "../render/terminal.js"
import { copyAll, type Stores, type Told, type Written } from "./copying.js"
import { areSame, type Given, openSource, openTarget, type Place, placeOf } from "./ends.js"
import { differences, type Kind, type Verification, verify } from "./verifying.js"

interface Options {
  readonly from: Given
  readonly to: Given
  readonly json: boolean
}

const named = 10

/** A list of which only the first are named. */
const some = (names: ReadonlyArray<string>): string =>
  names.length > named ? `${names.slice(0, named).join(", ")} and others` : names.join(", ")

const refuseRunning = (from: Store, where: string, after: string) =>
  Effect.flatMap(from.list({ status: "running", limit: named + 1 }), (runs) =>
    runs.length === 0
      ? Effect.void
      : ended(
          "Refused",
          `Runs of ${where} are being executed: ${some(runs.map(({ id }) => id))}. Stop the workers and programs that use it, then copy again. The lease of a process that was killed ends by itself.${after}`,
          "SourceInUse"
        )
  )

const refuseDamaged = (from: Store, { where }: Place) =>
  Effect.flatMap(from.check, (damages) =>
    damages.length === 0
      ? Effect.void
      : ended(
          "Refused",
          `${where} is damaged: ${some(damages.map(({ problem, run, what }) => `${what}${run === undefined ? "" : ` of run "${run}"`}: ${problem}`))}. Nothing was copied. recovery check --database lists everything with advice.`,
          "SourceDamaged"
        )
  )

const sameStorage = ended(
  "Usage",
  "--from and --to name the same storage. Name another one for the copy.",
  "SameStorage"
)

// ---- one copy at a time

/** The name of the lock that a copy has in its target. */
const lockName = "recovery copy"
const leaseMillis = 30_000

/** Locks the target against other copies until the scope closes. Refuses a target that is the source by another name. */
const lockTarget = ({ from, to }: Stores, { where }: Place): Effect.Effect<string, StorageError | Ended, Scope.Scope> =>
  Effect.gen(function* () {
    const owner = yield* makeOwner
    const locked = yield* Effect.acquireRelease(to.lock(lockName, owner, leaseMillis), () =>
      Effect.ignore(to.unlock(lockName, owner))
    )
    if (locked._tag === "Held") {
      return yield* ended("Refused", `Another copy writes to ${where}. Wait until it has ended.`, "TargetInUse")
    }
    const seen = yield* from.findLock(lockName)
    if (Option.isSome(seen) && seen.value.owner === owner) return yield* sameStorage
    return owner
  })

/** Never ends, unless the lock is lost. */
const keepLock = (to: Store, owner: string): Effect.Effect<never, StorageError | Ended> =>
  Effect.forever(
    Effect.flatMap(
      Effect.delay(to.renewLock({ name: lockName, token: 0, owner }, leaseMillis), leaseMillis / 3),
      (isHeld) =>
        isHeld
          ? Effect.void
          : ended("Storage", "The lock of the copy was lost. Copy again: what was copied is skipped.", "LockLost")
    )
  )

// ---- output

/** A line of progress that replaces the one before. Nothing, unless the standard error is a terminal. */
const progressLine = (): ((text: string) => void) =>
  process.stderr.isTTY ? (text) => void process.stderr.write(`\r\u001b[K${text}`) : () => {}

const counted = (rows: number): string => rows.toLocaleString("en-US")

interface Report {
  readonly from: string
  readonly to: string
  readonly written: Written
  readonly found: Verification
}

const isWritten = (kind: Kind): kind is Kind & keyof Written => kind !== "lines" && kind !== "signals"

const asJson = ({ found, from, to, written }: Report) => ({
  from,
  to,
  equal: differences(found).length === 0,
  kinds: Object.entries(found).map(([kind, { different, digest, rows, targetDigest }]) => ({
    kind,
    rows,
    // Lines and signals are written with their runs.
    written: isWritten(kind as Kind) ? written[kind as keyof Written] : null,
    digest,
    target_digest: targetDigest,
    different
  }))
})

const view = (screen: Screen, report: Report): string => {
  const { found, from, to } = report
  const rows = asJson(report).kinds.map(({ digest, kind, rows, target_digest: other, written }) => [
    kind,
    counted(rows),
    written === null ? "" : counted(written),
    digest.slice(0, 16),
    other.slice(0, 16),
    digest === other ? "equal" : "different"
  ])
  const all = table(screen, ["kind", "rows", "written now", "digest", "digest of the copy", ""], rows)
  const different = differences(found)
  if (different.length > 0) return [all, `different: ${some(different)}`].join("\n\n")
  return [
    all,
    [
      bold(screen, "Everything was copied and is equal. Do next:"),
      `1. Open the programs and workers on ${to}, and only there.`,
      `2. Do not use ${from} any more: a run that both storages advance does its work twice.`,
      "Locks were not copied: programs acquire theirs in the new storage."
    ].join("\n")
  ].join("\n\n")
}

// ---- the command

/** Both are open, and the source can be copied. */
const copyBetween = (stores: Stores, from: Place, to: Place, line: (text: string) => void) =>
  Effect.gen(function* () {
    const owner = yield* lockTarget(stores, to)
    const { records, runs, snapshots } = yield* stores.from.usage
    const totals: Partial<Record<Parameters<Told>[0], number>> = { runs, checkpoints: snapshots, records }
    const copying = Effect.gen(function* () {
      const written = yield* copyAll(stores, (kind, rows) => {
        const total = totals[kind]
        line(`copied ${counted(rows)}${total === undefined ? "" : ` of ${counted(total)}`} ${kind}`)
      })
      return {
        written,
        found: yield* verify(stores, (rows) => line(`compared ${counted(rows)} of ${counted(runs)} runs`))
      }
    })
    const report = yield* Effect.raceFirst(copying, keepLock(stores.to, owner))
    yield* refuseRunning(stores.from, from.where, " They began during the copy, which is not complete.")
    return { ...report, from: from.where, to: to.where }
  })

const copied = (from: Place, to: Place, line: (text: string) => void) =>
  Effect.gen(function* () {
    const source = yield* openSource(from)
    yield* refuseRunning(source, from.where, "")
    line("checking the source")
    yield* refuseDamaged(source, from)
    return yield* copyBetween({ from: source, to: yield* openTarget(to) }, from, to, line)
  }).pipe(
    Effect.catchTags({
      RestoreConflict: ({ row }) =>
        ended(
          "Different",
          `${to.where} already has another ${row}. Rows that differ are never replaced. Copy into an empty storage, or remove that row there.`,
          "RestoreConflict"
        ),
      StorageError: ({ message }) =>
        ended("Storage", `${message} (copying from ${from.where} to ${to.where})`, "StorageError")
    })
  )

/** Copies, compares, and prints what was found. */
export const copy = ({ json, ...given }: Options) =>
  Effect.gen(function* () {
    const [from, to] = [yield* placeOf(given.from), yield* placeOf(given.to)]
    if (areSame(from, to)) return yield* sameStorage
    const line = progressLine()
    const report = yield* Effect.ensuring(
      copied(from, to, line),
      Effect.sync(() => line(""))
    )
    yield* Console.log(json ? JSON.stringify(asJson(report), null, 2) : view(screenOf(process.stdout), report))
    const different = differences(report.found)
    if (different.length > 0) {
      return yield* ended("Different", `${to.where} differs from ${from.where}: ${some(different)}.`)
    }
  }).pipe(Effect.scoped)
