import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { emptyJournal } from "../../../journal/Journal.js"
import { encodeWrite } from "../../../journal/JournalLine.js"
import type { RunError } from "../../../journal/RunError.js"
import { reservedPrefix } from "../../../resilience/InvalidName.js"
import { escapeName } from "../../../resilience/Key.js"
import type { FullSnapshot } from "../../../storage/Storage.js"
import type { CellListener, Cells, PendingWrite, Write, Written } from "../execution/cells.js"
import * as Execution from "../execution/execution.js"
import * as FiberTree from "../execution/fiberTree.js"
import * as Replay from "../execution/replay.js"
import { acceptDivergence } from "../execution/replayOrder.js"
import { awaitGate } from "../wait/gate.js"
import { decodeWrite, make as makeCells } from "./cells.js"

/** How many values of a cell are kept as its history. */
const maxKept = 100

/** The number of writes of each cell by this process. */
const writeCounts = new Map<string, number>()

/**
 * Cells shared by all runs of a storage. Each value is a snapshot that belongs to
 * no run. It is saved only if the value it was computed from is still the newest.
 */
export const globalCells = (execution: Execution.Execution) => {
  const { clock, storage } = execution
  const orStop = <A, E extends RunError>(effect: Effect.Effect<A, E>) => Execution.orStop(execution, effect)

  const write = <E, R>(name: string, next: Next<E, R>, key: string | undefined): Effect.Effect<Written, E, R> =>
    Effect.flatMap(orStop(storage.newest({ run: null, name: nameOf(name) })), (found) => {
      const current = Option.getOrUndefined(found)
      return Effect.flatMap(next(current && writtenOf(current)), (text) => {
        const at = clock.unsafeCurrentTimeMillis()
        const entry =
          key === undefined
            ? undefined
            : Execution.nextEntry(execution, "StateSet", key, 0, encodeWrite({ cell: sharedKey(name), text }), at)
        const saved = storage.save(toSnapshot(name, text, at), {
          lease: execution.lease,
          after: current?.key ?? 0,
          entry
        })
        return Effect.flatMap(orStop(saved), (key) =>
          // Another process wrote first: computes the value again from its value.
          Option.isNone(key) ? write(name, next, entry?.step) : Effect.as(afterSave(name, { text, at }), { text, at })
        )
      })
    })

  const afterSave = (name: string, written: Written): Effect.Effect<void> => {
    execution.cells.notify(sharedKey(name), written)
    return trim(name)
  }

  /** Removes old values at every 20th write. */
  const trim = (name: string): Effect.Effect<void> => {
    const count = (writeCounts.get(name) ?? 0) + 1
    writeCounts.set(name, count)
    return count % 20 !== 0
      ? Effect.void
      : Effect.flatMap(orStop(storage.snapshots({ run: null, name: nameOf(name), limit: 10 * maxKept })), (all) =>
          Effect.asVoid(orStop(storage.remove(all.slice(maxKept).map(({ key }) => key))))
        )
  }

  const history = (name: string, limit: number): Effect.Effect<ReadonlyArray<Written>> =>
    Effect.flatMap(orStop(storage.snapshots({ run: null, name: nameOf(name), limit })), (all) =>
      Effect.map(
        Effect.forEach(all, ({ key }) => orStop(storage.snapshot(key))),
        (found) => found.flatMap(Option.toArray).map(writtenOf)
      )
    )

  return { write, history }
}

/** The kind of snapshots that are values of shared cells, not checkpoints. */
export const sharedKind = "effect-recovery/state"

/** The key of a shared cell among those of a run. No name begins with a bracket. */
const sharedKey = (cell: string): string => `[global]/${escapeName(cell)}`

/** The name of its snapshots. Checkpoints may not have such a name. */
export const nameOf = (cell: string): string => `${reservedPrefix}${cell}`

const writtenOf = ({ at, state }: FullSnapshot): Written => ({ text: state === "" ? undefined : String(state), at })

const toSnapshot = (cell: string, text = "", at: number): Omit<FullSnapshot, "key" | "rewound"> => ({
  run: undefined,
  step: "",
  seq: 0,
  name: nameOf(cell),
  own: undefined,
  kind: sharedKind,
  version: 1,
  schema: "",
  digest: "",
  size: text.length,
  encoding: "json",
  labels: {},
  about: "{}",
  at,
  state: text
})

/** The name and the scope of a cell. */
export interface Address {
  readonly name: string
  readonly scope: "local" | "workflow" | "global"
}

/** Computes the value to write from the current one. */
export type Next<E, R> = (current: Written | undefined) => Effect.Effect<string | undefined, E, R>

/** The cells that a program can use. */
export interface CellsService {
  /** The time by the clock of the writes. */
  readonly now: Effect.Effect<number>
  /** Newest first. Without any, the cell has its initial value. */
  readonly history: (address: Address, limit: number) => Effect.Effect<ReadonlyArray<Written>>
  readonly write: <E, R>(address: Address, next: Next<E, R>) => Effect.Effect<Written, E, R>
  /** Whether the surrounding run is ending. Cells are not restored then. */
  readonly isEnding: Effect.Effect<boolean>
  /** Calls the listener with each change made through this run or layer. */
  readonly listen: (address: Address, listener: CellListener) => Effect.Effect<() => void>
}

export class CellsTag extends Context.Tag("effect-recovery/Cells")<CellsTag, CellsService>() {}

/** Cells outside of runs, in memory. */
export const volatileCells = (): CellsService => {
  const cells = makeCells(emptyJournal())
  let seq = 0
  return {
    now: Clock.currentTimeMillis,
    history: ({ name }, limit) => Effect.sync(() => newestFirst(cells.writes(name), limit)),
    write: ({ name }, next) =>
      cells.alone(
        name,
        Effect.flatMap(Clock.currentTimeMillis, (at) =>
          Effect.map(
            Effect.suspend(() => next(cells.writes(name).at(-1))),
            (text) => {
              const write = { seq: ++seq, key: name, text, at }
              cells.apply(name, write)
              return write
            }
          )
        )
      ),
    isEnding: Effect.succeed(false),
    listen: ({ name }, listener) => Effect.sync(() => cells.listen(name, listener))
  }
}

const newestFirst = (writes: ReadonlyArray<Write>, limit: number): ReadonlyArray<Written> =>
  limit <= 0 ? [] : writes.slice(-limit).reverse()

/** The cells of a run, recorded in its journal. Rollbacks and rewinds revoke their writes. */
export const cellsOf = (execution: Execution.Execution): CellsService => {
  const shared = globalCells(execution)
  return {
    now: execution.clock.currentTimeMillis,
    history: (address, limit) =>
      address.scope === "global"
        ? // The value depends on other runs, so the replay order of this run no longer determines what follows.
          Effect.suspend(() => {
            acceptDivergence(execution)
            return shared.history(address.name, limit)
          })
        : withRun((run, step) => {
            const cell = cellOf(run, address)
            const pending = (workingOf(execution.cells, step) ?? []).filter((write) => write.cell === cell)
            return Effect.succeed(
              [...[...pending].reverse(), ...newestFirst(execution.cells.writes(cell), limit)].slice(0, limit)
            )
          }),
    write: (address, next) =>
      withRun((run, step) => {
        const working = workingOf(execution.cells, step)
        if (working === undefined) return inBody(execution, run, address, next, shared)
        if (address.scope === "global") return shared.write(address.name, next, undefined)
        return inStep(execution, cellOf(run, address), next, working)
      }),
    isEnding: Effect.sync(() => execution.lifecycle.isEnding || execution.lifecycle.isClosing),
    listen: (address, listener) =>
      withRun((run) => Effect.succeed(execution.cells.listen(cellOf(run, address), listener)))
  }
}

const withRun = <A, E, R>(
  operation: (run: Execution.RunService, step: string | undefined) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) => operation(Execution.runOf(fiber.currentContext), FiberTree.stepOf(fiber)))

const cellOf = (run: Execution.RunService, { name, scope }: Address): string => {
  if (scope === "global") return sharedKey(name)
  return scope === "local" ? run.section + escapeName(name) : escapeName(name)
}

const workingOf = ({ working }: Cells, step: string | undefined) => (step === undefined ? undefined : working.get(step))

type Shared = ReturnType<typeof globalCells>

/** The write is recorded with the result of the step, and dropped if the attempt fails. */
const inStep = <E, R>(
  { cells, clock }: Execution.Execution,
  cell: string,
  next: Next<E, R>,
  working: Array<PendingWrite>
): Effect.Effect<Written, E, R> =>
  cells.alone(
    cell,
    Effect.map(
      Effect.suspend(() => next(currentIn(cells, working, cell))),
      (text) => {
        const base = cells.writes(cell).at(-1)?.seq ?? 0
        // The cast drops the requirements of `next`: the fiber of the step provides them when it commits.
        const again = next as PendingWrite["next"]
        const write = { cell, text, at: clock.unsafeCurrentTimeMillis(), base, next: again }
        working.push(write)
        return write
      }
    )
  )

const currentIn = (cells: Cells, working: ReadonlyArray<PendingWrite>, cell: string): Written | undefined =>
  working.filter((write) => write.cell === cell).at(-1) ?? cells.writes(cell).at(-1)

/** The write gets its own line of the journal. On a resume, the recorded value is applied. */
const inBody = <E, R>(
  execution: Execution.Execution,
  run: Execution.RunService,
  address: Address,
  next: Next<E, R>,
  shared: Shared
): Effect.Effect<Written, E, R> =>
  Execution.withKey(run, `@${address.name}`, (key, restore): Effect.Effect<Written, E, R> => {
    const cell = cellOf(run, address)
    const known = execution.journal.recorded.get(key)
    if (known !== undefined) {
      const { write } = decodeWrite(known)
      if (address.scope !== "global") execution.cells.apply(cell, write)
      return Effect.succeed(write)
    }
    const parks = Execution.isReplayOnly(execution, key)
    const checked: Next<E, R> = (current) => {
      const text = restore(next(current))
      // Runs the validator as the earlier execution did, but does not begin a new write.
      return parks ? Effect.zipRight(text, Replay.park(execution.replay.active, key, false)) : text
    }
    const gate = parks ? Effect.void : restore(awaitGate(execution))
    if (address.scope === "global") return Effect.zipRight(gate, shared.write(address.name, checked, key))
    const change = Effect.flatMap(
      Effect.suspend(() => checked(execution.cells.writes(cell).at(-1))),
      (text) => record(execution, cell, key, text)
    )
    return Effect.zipRight(gate, execution.cells.alone(cell, change, restore))
  })

const record = (
  execution: Execution.Execution,
  cell: string,
  key: string,
  text: string | undefined
): Effect.Effect<Write> => {
  const entry = Execution.nextEntry(execution, "StateSet", key, 0, encodeWrite({ cell, text }))
  const write = { seq: entry.seq, key, text, at: entry.at }
  return Effect.map(Execution.appendAll(execution, [entry]), () => {
    execution.cells.apply(cell, write)
    return write
  })
}
