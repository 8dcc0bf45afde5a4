/** Whether the target has what the source has: a digest of each kind of rows, on both sides. */
import * as crypto from "node:crypto"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { StorageError } from "../../storage/StorageError.js"
import type { Entry, Run, Signal, Store } from "../../storage/Store.js"
import { counterText, entryText, fullText, recordText, rowName, runText, signalText } from "../../storage/storedRows.js"
import {
  eachPageOfCounters,
  eachPageOfRecords,
  eachPageOfRuns,
  eachPageOfSnapshots,
  eachWith,
  type Stores
} from "./copying.js"

/** The rows of one kind. Digests are SHA-256 in hexadecimal, over the rows of the source in its order. */
export interface Verified {
  readonly rows: number
  readonly digest: string
  readonly targetDigest: string
  /** Names of rows that differ or are missing in the target, at most 20. */
  readonly different: ReadonlyArray<string>
}

export type Kind = "runs" | "lines" | "signals" | "checkpoints" | "records" | "counters"

export type Verification = Readonly<Record<Kind, Verified>>

const maxNamed = 20

class Tally {
  private rows = 0
  private readonly source = crypto.createHash("sha256")
  private readonly target = crypto.createHash("sha256")
  private readonly different: Array<string> = []

  add(name: () => string, source: string | undefined, target: string | undefined): void {
    if (source !== undefined) this.rows++
    this.source.update(`${source ?? ""}\n`)
    this.target.update(`${target ?? ""}\n`)
    if (source !== target && this.different.length < maxNamed) this.different.push(name())
  }

  /** Rows that are numbered, such as the lines of a journal. */
  addAll(name: (i: number) => string, source: ReadonlyArray<string>, target: ReadonlyArray<string>): void {
    for (let i = 0; i < Math.max(source.length, target.length); i++) this.add(() => name(i), source[i], target[i])
  }

  end(): Verified {
    const { different, rows } = this
    return { rows, digest: this.source.digest("hex"), targetDigest: this.target.digest("hex"), different }
  }
}

interface WholeRun {
  readonly run: Run
  readonly journal: ReadonlyArray<Entry>
  readonly signals: ReadonlyArray<Signal>
}

const wholeRun = (store: Store, run: Run): Effect.Effect<WholeRun, StorageError> =>
  Effect.zipWith(store.journal(run.key), store.signals(run.key), (journal, signals) => ({ run, journal, signals }))

const inTarget = (to: Store, id: string): Effect.Effect<WholeRun | undefined, StorageError> =>
  Effect.flatMap(to.find(id), (found) => (Option.isNone(found) ? Effect.succeed(undefined) : wholeRun(to, found.value)))

const addRun = (tallies: Record<Kind, Tally>, source: WholeRun, target: WholeRun | undefined): Effect.Effect<void> =>
  Effect.sync(() => {
    const name = `run "${source.run.id}"`
    tallies.runs.add(() => name, runText(source.run), target && runText(target.run))
    tallies.lines.addAll(
      (i) => `line ${source.journal[i]?.seq ?? target?.journal[i]?.seq} of ${name}`,
      source.journal.map(entryText),
      target?.journal.map(entryText) ?? []
    )
    tallies.signals.addAll(
      (i) => `signal "${source.signals[i]?.key ?? target?.signals[i]?.key}" of ${name}`,
      source.signals.map(signalText),
      target?.signals.map(signalText) ?? []
    )
  })

/** Looks in the target for each row of the source. What else the target has does not matter. */
export const verify = ({ from, to }: Stores, told: (runs: number) => void): Effect.Effect<Verification, StorageError> =>
  Effect.gen(function* () {
    const tallies: Record<Kind, Tally> = {
      runs: new Tally(),
      lines: new Tally(),
      signals: new Tally(),
      checkpoints: new Tally(),
      records: new Tally(),
      counters: new Tally()
    }
    const { checkpoints, counters, records } = tallies
    let compared = 0
    yield* eachPageOfRuns(from, (page) =>
      Effect.tap(
        eachWith(
          page,
          (run) => Effect.zip(wholeRun(from, run), inTarget(to, run.id)),
          ([source, target]) => addRun(tallies, source, target)
        ),
        () =>
          Effect.sync(() => {
            compared += page.length
            told(compared)
          })
      )
    )
    yield* eachPageOfSnapshots(from, (page) =>
      eachWith(
        page,
        (row) => Effect.zip(from.snapshot(row.key), to.snapshot(row.key)),
        ([source, target]) =>
          Effect.sync(() => {
            const text = Option.map(fullText)
            const [one, other] = [Option.getOrUndefined(text(source)), Option.getOrUndefined(text(target))]
            const named = Option.match(source, {
              onNone: () => "a checkpoint that was removed",
              onSome: (snapshot) => rowName({ _tag: "Snapshot", snapshot })
            })
            checkpoints.add(() => named, one, other)
          })
      )
    )
    yield* eachPageOfRecords(from, (page) =>
      eachWith(
        page,
        (record) => Effect.map(to.findRecord(record.kind, record.id), (found) => [record, found] as const),
        ([record, found]) =>
          Effect.sync(() =>
            records.add(
              () => rowName({ _tag: "Record", record }),
              recordText(record),
              Option.getOrUndefined(Option.map(found, recordText))
            )
          )
      )
    )
    const there = new Map((yield* to.counters("")).map((counter) => [counter.name, counterText(counter)]))
    yield* eachPageOfCounters(from, (page) =>
      Effect.sync(() => {
        for (const counter of page) {
          counters.add(() => rowName({ _tag: "Counter", counter }), counterText(counter), there.get(counter.name))
        }
      })
    )
    return {
      runs: tallies.runs.end(),
      lines: tallies.lines.end(),
      signals: tallies.signals.end(),
      checkpoints: checkpoints.end(),
      records: records.end(),
      counters: counters.end()
    }
  })

/** The names of all rows that differ, of those that are kept. */
export const differences = (found: Verification): ReadonlyArray<string> =>
  Object.values(found).flatMap(({ different }) => different)
