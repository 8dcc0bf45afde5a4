import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Restore } from "../../../storage/Storage.js"
import { machineryOf, StepConflict, type UndoFailure } from "../../RunError.js"
import { undoCodec } from "../journal/codec.js"
import { forget, type RollbackRecord } from "../journal/journal.js"
import { encodeRewind } from "../journal/rewindLine.js"
import * as live_ from "../run/liveRun.js"
import * as Replays from "../run/replays.js"
import { journaled } from "./journaled.js"
import { causeOf, type Options } from "./memory.js"
import { registering } from "./register.js"
import { isClean, rollback, type Undone } from "./rollback.js"
import { Transaction } from "./service.js"
import { pending } from "./undoLog.js"

type AnyEffect = Effect.Effect<unknown, unknown, unknown>

/** Why a transaction is rolled back. After `died` and `stopped` the run goes on later, and the transaction begins anew. */
type Reason = "failed" | "interrupted" | "died" | "stopped"

/** One use of a transaction within a run. */
interface Use {
  readonly live: live_.LiveRun
  readonly section: string
  readonly options: Options
  /** The transaction's body, with the section around it. */
  readonly inside: AnyEffect
  readonly restore: Restore
}

/** A transaction of a run: every registration and every compensation is on record, so a crash only pauses it. */
export const durable = (
  run: live_.RunService,
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  self: AnyEffect,
  options: Options
): AnyEffect =>
  Effect.uninterruptibleMask((restore) => {
    const live = run.live
    if (live.stopped !== undefined) return live_.stop(live, live.stopped)
    const key = live_.enter(run, options.name, fiber)
    if (key instanceof StepConflict) return live_.stop(live, key)
    const section = `${key}/`
    const within: live_.RunService = { ...run, section, transaction: section }
    const inside = Effect.mapInputContext(self, (context: Context.Context<unknown>) =>
      context.pipe(Context.add(live_.Run, within), Context.add(Transaction, registering(within)))
    )
    const use: Use = { live, section, options, inside, restore }
    return Effect.ensuring(
      begin(use),
      Effect.sync(() => live_.leave(run, options.name))
    )
  })

const begin = (use: Use): AnyEffect =>
  Effect.suspend(() => {
    const record = use.live.journal.rollbacks.get(use.section)
    if (record === undefined) return fresh(use)
    return record.status === "started" ? goOn(use, record) : again(use, record)
  })

const fresh = (use: Use): AnyEffect =>
  Effect.flatMap(Effect.exit(use.restore(use.inside)), (exit) => {
    const { live, options, section } = use
    const machinery = Exit.isSuccess(exit) ? undefined : machineryOf(exit.cause)
    if (machinery !== undefined) return live_.stop(live, machinery)
    if (Exit.isSuccess(exit) || live_.isEnding(live) || !options.rollsBack(exit.cause)) return exit
    const undos = pending(live.undoLog, section)
    const reason = reasonOf(live, exit.cause)
    // The run goes on later; with nothing to undo from where it was, and past a pivot there is only forward.
    if (isLater(reason) && (undos.length === 0 || undos.some(({ pivot }) => pivot))) return exit
    if (undos.length === 0) return Effect.zipRight(revertAlone(use, reason), exit)
    return Effect.zipRight(
      live_.append(live, "RollbackStarted", section, 0, JSON.stringify({ reason })),
      Effect.flatMap(undo(use, reason), (undone) => ended(use, reason, exit.cause, undone))
    )
  })

const reasonOf = (live: live_.LiveRun, cause: Cause.Cause<unknown>): Reason => {
  if (Cause.isDie(cause)) return "died"
  if (Cause.isFailure(cause)) return "failed"
  return live.interrupted ? "stopped" : "interrupted"
}

const isLater = (reason: string): boolean => reason === "died" || reason === "stopped"

/** State is put back; who looks from outside must see that it was. */
const revertAlone = (use: Use, reason: Reason) =>
  Effect.suspend(() =>
    use.live.cells.isWritten(use.section)
      ? Effect.zipRight(recordEnd(use, reason, { failures: [], remaining: [], pivot: undefined }), revert(use))
      : Effect.void
  )

const revert = ({ live, section }: Use) => Effect.sync(() => live.cells.revert(section))

const undo = (use: Use, reason: Reason): Effect.Effect<Undone> => {
  const { live, section } = use
  const source = { run: live.id, step: section }
  return live_
    .emit(live, () => ({ _tag: "RollbackStarted", source, transaction: section, reason }))
    .pipe(
      Effect.zipRight(revert(use)),
      Effect.zipRight(rollback(live.undoLog, { within: section }, journaled(live))),
      Effect.tap((undone) =>
        live_.emit(live, () => ({ _tag: "RollbackEnded", source, transaction: section, clean: isClean(undone) }))
      )
    )
}

/** What the rollback came to, on record before the program sees it. */
const ended = (use: Use, reason: Reason, cause: Cause.Cause<unknown>, undone: Undone): AnyEffect => {
  if (!isLater(reason)) return Effect.zipRight(recordEnd(use, reason, undone), fail(use, cause, undone))
  // Not clean: the rest is tried again when the run is executed again.
  return Effect.zipRight(isClean(undone) ? forgetAll(use, reason) : Effect.void, Effect.failCause(cause))
}

const recordEnd = ({ live, section }: Use, reason: Reason, undone: Undone): Effect.Effect<void> => {
  const { pivot = null, remaining } = undone
  const payload = JSON.stringify({ reason, remaining, pivot })
  return live_.append(live, isClean(undone) ? "RolledBack" : "RollbackFailed", section, 0, payload)
}

const fail = (use: Use, cause: Cause.Cause<unknown>, undone: Undone) =>
  Effect.failCause(causeOf(use.section, cause, undone))

/** Everything was undone: the transaction begins anew, when the run is executed again or at once. */
const forgetAll = ({ live, section }: Use, reason: string): Effect.Effect<void> => {
  const rewound = { after: 0, within: section }
  const point = `the start of transaction "${section}"`
  const payload = encodeRewind({ ...rewound, begun: 0, by: section, point, reason })
  return Effect.zipRight(
    Effect.catchAll(
      live.storage.rewind(live.lease, live_.nextEntry(live, "Rewound", "", 0, payload), rewound),
      (error) => live_.stop(live, error)
    ),
    Effect.sync(() => {
      forget(live.journal, rewound)
      for (const keys of [live.uses, live.undoLog]) {
        for (const key of keys.keys()) if (key.startsWith(section)) keys.delete(key)
      }
      live.cells.revert(section)
    })
  )
}

// ---- what the journal knows of it already

/** The transaction was rolled back: it is replayed up to its failure, and nothing is undone twice. */
const again = (use: Use, record: RollbackRecord): AnyEffect =>
  replaying(use, (replay) => {
    const beyond = Effect.as(Deferred.await(replay.beyond), undefined)
    return Effect.flatMap(Effect.raceFirst(Effect.exit(use.inside), beyond), (exit) => {
      if (exit === undefined || Exit.isSuccess(exit)) return Effect.succeed(undefined)
      return Effect.map(undoneOf(use, record), (undone) => ({ cause: exit.cause, undone }))
    })
  }).pipe(
    Effect.flatMap((known) =>
      known === undefined
        ? anew(use, "the program takes another way than before")
        : Effect.zipRight(revert(use), fail(use, known.cause, known.undone))
    )
  )

/** Its process ended in the middle: what is left is undone, while the body waits where it was. */
const goOn = (use: Use, record: RollbackRecord): AnyEffect =>
  Effect.flatMap(
    replaying(use, (replay) =>
      Effect.flatMap(Effect.fork(use.inside), (fiber) =>
        Effect.flatMap(
          Effect.onInterrupt(meet(replay, fiber), () => Fiber.interrupt(fiber)),
          (exit) =>
            Effect.flatMap(undo(use, record.reason as Reason), (undone) =>
              Effect.as(exit === undefined ? Fiber.interrupt(fiber) : Effect.void, { exit, undone })
            )
        )
      )
    ),
    ({ exit, undone }) => {
      // It failed by itself as it had before: that is its failure.
      if (exit !== undefined && Exit.isFailure(exit)) return ended(use, "failed", exit.cause, undone)
      if (!isClean(undone)) return ended(use, "failed", lostCause(record), undone)
      return anew(use, record.reason)
    }
  )

const lostCause = ({ reason, section }: RollbackRecord) =>
  Cause.die(
    new Error(`transaction "${section}" was ${reason === "died" ? "ended by a defect" : reason} in an earlier process`)
  )

const anew = (use: Use, reason: string): AnyEffect =>
  Effect.zipRight(
    forgetAll(use, reason),
    Effect.suspend(() => fresh(use))
  )

/** Nothing is begun within the section while this runs. */
const replaying = <A, E, R>(
  { live, restore, section }: Use,
  body: (replay: Replays.Replay) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const { steps, undos } = live.journal
    const replay = Replays.make(section, [...steps.keys(), ...undos.keys()])
    live.replays.add(replay)
    return Effect.ensuring(
      restore(body(replay)),
      Effect.sync(() => live.replays.delete(replay))
    )
  })

/** Waits until everything was met; answers with the exit of a body that ended by then. */
const meet = (replay: Replays.Replay, fiber: Fiber.RuntimeFiber<unknown, unknown>) =>
  Effect.zipRight(
    Effect.raceFirst(Deferred.await(replay.met), Fiber.await(fiber)),
    // What was met last may be the very failure: a body that needs nobody else to end gets the turns for it.
    Effect.repeat(Effect.sync(() => fiber.unsafePoll() ?? undefined).pipe(Effect.zipLeft(Effect.yieldNow())), {
      until: (exit) => exit !== undefined,
      times: graceTurns
    })
  ).pipe(Effect.map(() => fiber.unsafePoll() ?? undefined))

const graceTurns = 200

const undoneOf = ({ live, section }: Use, record: RollbackRecord): Effect.Effect<Undone> =>
  Effect.gen(function* () {
    const { pivot = null, remaining = [] } = JSON.parse(record.payload ?? "{}")
    const failures: Array<UndoFailure> = []
    if (record.status === "completed") return { failures, remaining, pivot: pivot ?? undefined }
    const failed = [...live.journal.undos.values()].filter(
      ({ key, status }) => status === "failed" && key.startsWith(section)
    )
    for (const { key, payload } of failed) {
      // Whatever was written by the codec can be read by it.
      const cause = yield* Effect.orDie(undoCodec().decode(payload) as Effect.Effect<Cause.Cause<unknown>, unknown>)
      failures.push({ undo: key, cause })
    }
    return { failures, remaining, pivot: pivot ?? undefined }
  })
