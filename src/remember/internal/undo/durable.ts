import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import type { Restore } from "../../../storage/Storage.js"
import { machineryOf, StepConflict, type UndoFailure } from "../../RunError.js"
import { causeCodec, undoCodec } from "../journal/codec.js"
import { forget, knownOf, type RollbackRecord } from "../journal/journal.js"
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

/** Why a transaction is rolled back. After `stopped` the run goes on later, and the transaction begins anew. */
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
    const { live, section } = use
    if (live.rewinding && !live.replays.size) return Replays.never
    const record = live.journal.rollbacks.get(section)
    if (record === undefined) return fresh(use)
    if (live.rewinding) return onlyMet(use, record)
    return record.status === "started" ? goOn(use, record) : again(use, record)
  })

/** Somebody further out undoes all of it; here it is met, and ends as it had ended. */
const onlyMet = (use: Use, record: RollbackRecord): AnyEffect =>
  Effect.flatMap(toldBy(use, record), ({ cause, undone }) => {
    const meeting = record.status === "completed" ? Effect.void : met(use)
    const hasFailed = record.status !== "started" && record.reason !== "interrupted"
    const end = hasFailed && cause !== undefined ? Effect.failCause(causeOf(use.section, cause, undone)) : Replays.never
    return Effect.zipRight(Effect.zipRight(meeting, revert(use)), end)
  })

const fresh = (use: Use): AnyEffect =>
  Effect.flatMap(Effect.exit(use.restore(use.inside)), (exit) => {
    const { live, options, section } = use
    const machinery = Exit.isSuccess(exit) ? undefined : machineryOf(exit.cause)
    if (machinery !== undefined) return live_.stop(live, machinery)
    if (Exit.isSuccess(exit) || live_.isEnding(live) || !options.rollsBack(exit.cause)) return exit
    const undos = pending(live.undoLog, section)
    const isEmpty = undos.length === 0 && unmet(use).length === 0
    const reason = reasonOf(live, exit.cause)
    // The run goes on later; with nothing to undo from where it was, and past a pivot there is only forward.
    if (reason === "stopped" && (isEmpty || undos.some(({ pivot }) => pivot))) return exit
    if (isEmpty) return Effect.zipRight(revertAlone(use, reason, exit.cause), exit)
    return live_.whileOpen(
      live,
      Effect.flatMap(encodeCause(use, exit.cause), (cause) =>
        Effect.zipRight(
          live_.append(live, "RollbackStarted", section, 0, JSON.stringify({ reason, cause })),
          Effect.flatMap(undoAll(use, reason), (undone) => ended(use, reason, exit.cause, undone))
        )
      )
    )
  })

/** What an earlier process had begun and this one did not come by, such as the loser of a race. */
const unmet = ({ live, section }: Use): ReadonlyArray<string> =>
  knownOf(live.journal).flatMap(([key, { isNeeded }]) =>
    isNeeded && key.startsWith(section) && !live.undoLog.has(key) ? [key] : []
  )

/** What was not met yet is met first, in a replay in the order of the journal. */
const undoAll = (use: Use, reason: Reason): Effect.Effect<Undone, never, unknown> => {
  if (unmet(use).length === 0) return undo(use, reason)
  for (const key of use.live.uses.keys()) if (key.startsWith(use.section)) use.live.uses.delete(key)
  return Effect.map(undoMet(use, reason), ({ undone }) => undone)
}

const reasonOf = (live: live_.LiveRun, cause: Cause.Cause<unknown>): Reason => {
  if (Cause.isDie(cause)) return "died"
  if (Cause.isFailure(cause)) return "failed"
  return live.interrupted ? "stopped" : "interrupted"
}

/** For a process that takes over: it fails as this one did. What the workflow cannot write it finds out again. */
const encodeCause = ({ live }: Use, cause: Cause.Cause<unknown>): Effect.Effect<string | undefined> =>
  // The workflow's schema needs what the workflow needs, and that is here.
  Effect.orElseSucceed(causeCodec(live.error).encode(cause), () => undefined) as Effect.Effect<string | undefined>

/** State is put back; who looks from outside must see that it was. */
const revertAlone = (use: Use, reason: Reason, cause: Cause.Cause<unknown>) =>
  Effect.suspend(() =>
    use.live.cells.isWritten(use.section)
      ? Effect.zipRight(recordEnd(use, reason, cause, { failures: [], remaining: [], pivot: undefined }), revert(use))
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
  if (reason !== "stopped") {
    return Effect.zipRight(recordEnd(use, reason, cause, undone), Effect.failCause(causeOf(use.section, cause, undone)))
  }
  // Not clean: the rest is tried again when the run is executed again.
  return Effect.zipRight(isClean(undone) ? forgetAll(use, reason) : Effect.void, Effect.failCause(cause))
}

const recordEnd = (use: Use, reason: Reason, cause: Cause.Cause<unknown>, undone: Undone): Effect.Effect<void> => {
  const { live, section } = use
  return Effect.flatMap(Effect.zip(encodeCause(use, cause), encodeUndone(undone)), ([cause, undone]) =>
    live_.append(
      live,
      undone.failures.length === 0 && undone.pivot === null && undone.remaining.length === 0
        ? "RolledBack"
        : "RollbackFailed",
      section,
      0,
      JSON.stringify({ reason, cause, ...undone })
    )
  ).pipe(Effect.tap(() => Effect.sync(() => live.closed.add(section))))
}

const encodeUndone = ({ failures, pivot, remaining }: Undone) =>
  Effect.map(
    Effect.forEach(failures, ({ cause, undo }) =>
      // A defect has a form for everything, so this cannot fail.
      Effect.map(Effect.orDie(undoCodec().encode(cause) as Encoded), (cause) => ({ undo, cause }))
    ),
    (failures) => ({ failures, pivot: pivot ?? null, remaining })
  )

type Encoded = Effect.Effect<string | undefined, unknown>

/** Everything was undone: the transaction begins anew, when the run is executed again or at once. */
const forgetAll = ({ live, section }: Use, reason: string): Effect.Effect<void> => {
  const rewound = { after: 0, within: section }
  const point = `the start of transaction "${section}"`
  const payload = encodeRewind({ ...rewound, begun: 0, by: section, point, reason })
  const entry = live_.nextEntry(live, "Rewound", "", 0, payload)
  return Effect.zipRight(
    Effect.catchAll(live.storage.rewind(live.lease, entry, rewound), (error) => live_.stop(live, error)),
    Effect.sync(() => {
      live.closed.add(section)
      forget(live.journal, rewound)
      for (const keys of [live.uses, live.undoLog]) {
        for (const key of keys.keys()) if (key.startsWith(section)) keys.delete(key)
      }
      live.cells.revert(section)
    })
  )
}

// ---- what the journal knows of it already

/** What a line about a rollback says. */
interface Told {
  readonly cause: Cause.Cause<unknown> | undefined
  readonly undone: Undone
}

const toldBy = (use: Use, { payload }: RollbackRecord): Effect.Effect<Told> =>
  Effect.gen(function* () {
    const { cause, failures = [], pivot, remaining = [] } = JSON.parse(payload ?? "{}")
    const decoded = typeof cause === "string" ? yield* decodeCause(use, cause) : undefined
    const known: Array<UndoFailure> = []
    for (const { cause, undo } of failures) known.push({ undo, cause: yield* Effect.orDie(decodeUndo(cause)) })
    return { cause: decoded, undone: { failures: known, remaining, pivot: pivot ?? undefined } }
  })

const decodeUndo = (text: string) => undoCodec().decode(text) as Effect.Effect<Cause.Cause<unknown>, unknown>

const decodeCause = ({ live }: Use, text: string): Effect.Effect<Cause.Cause<unknown> | undefined> =>
  Effect.orElseSucceed(causeCodec(live.error).decode(text), () => undefined) as Effect.Effect<
    Cause.Cause<unknown> | undefined
  >

/**
 * The transaction was rolled back, and nothing is undone twice. It fails as it
 * did; only what can fail in another way by now, being mended, is replayed.
 */
const again = (use: Use, record: RollbackRecord): AnyEffect =>
  Effect.flatMap(toldBy(use, record), ({ cause, undone }) => {
    if (record.reason === "interrupted") return Effect.zipRight(revert(use), Replays.never)
    if (cause !== undefined && record.reason !== "died") {
      // What could not be undone is met again, for a transaction around to try once more.
      const meeting = isClean(undone) ? Effect.void : met(use)
      return Effect.zipRight(
        Effect.zipRight(meeting, revert(use)),
        Effect.failCause(causeOf(use.section, cause, undone))
      )
    }
    return Effect.flatMap(replayToEnd(use), (exit) =>
      exit === undefined || Exit.isSuccess(exit)
        ? anew(use, "the program takes another way than before")
        : Effect.zipRight(revert(use), Effect.failCause(causeOf(use.section, exit.cause, undone)))
    )
  })

/** Up to the end of the body, or to something that is new. */
const replayToEnd = (use: Use) =>
  replaying(use, (replay) =>
    // What is raced must be interruptible, or the race waits for its loser.
    Effect.interruptible(Effect.raceFirst(Effect.exit(use.inside), Effect.as(Deferred.await(replay.beyond), undefined)))
  )

/** Meets what there is, and leaves it. */
const met = (use: Use): Effect.Effect<void, never, unknown> =>
  replaying(use, (replay) =>
    Effect.flatMap(Effect.fork(Effect.interruptible(use.inside)), (body) =>
      Effect.ensuring(Effect.interruptible(Replays.settle(replay, body)), Fiber.interrupt(body))
    )
  )

/** Its process ended in the middle: what is left is undone, while the body waits where it was. */
const goOn = (use: Use, record: RollbackRecord): AnyEffect =>
  live_.whileOpen(
    use.live,
    Effect.flatMap(
      Effect.zip(toldBy(use, record), Effect.exit(undoMet(use, record.reason as Reason))),
      ([{ cause }, exit]): AnyEffect => {
        if (Exit.isFailure(exit)) return exit
        const { exit: natural, undone } = exit.value
        // It failed as it had before: as is on record, or by itself.
        const failed = cause ?? (natural !== undefined && Exit.isFailure(natural) ? natural.cause : undefined)
        if (record.reason === "interrupted" && isClean(undone)) {
          return Effect.zipRight(
            recordEnd(use, "interrupted", Cause.interrupt(FiberId.none), undone),
            use.restore(Replays.never)
          )
        }
        if (failed !== undefined && record.reason !== "stopped")
          return ended(use, record.reason as Reason, failed, undone)
        return isClean(undone) ? anew(use, record.reason) : ended(use, "failed", failed ?? lostCause(record), undone)
      }
    )
  )

/** Whoever interrupts it does not keep it from being undone: it has failed long ago. */
const undoMet = (use: Use, reason: Reason) =>
  replaying(use, (replay) =>
    Effect.flatMap(Effect.fork(Effect.interruptible(use.inside)), (body) =>
      Effect.gen(function* () {
        yield* Effect.exit(Effect.interruptible(Replays.settle(replay, body)))
        yield* Replays.turns(body, () => false)
        const natural = body.unsafePoll() ?? undefined
        const undone = yield* undo(use, reason)
        yield* Fiber.interrupt(body)
        // A finalizer of the body may have met more.
        const late = yield* rollback(
          use.live.undoLog,
          { within: use.section, only: untried(use, undone) },
          journaled(use.live)
        )
        const remaining = [...undone.remaining, ...late.remaining, ...Replays.neededOf(replay)]
        const failures = [...undone.failures, ...late.failures]
        return { exit: natural, undone: { failures, remaining, pivot: undone.pivot ?? late.pivot } }
      })
    )
  )

const untried = ({ live, section }: Use, { failures }: Undone): ReadonlySet<string> => {
  const failed = new Set(failures.map(({ undo }) => undo))
  return new Set(
    pending(live.undoLog, section)
      .map(({ key }) => key)
      .filter((key) => !failed.has(key))
  )
}

const lostCause = ({ reason, section }: RollbackRecord) =>
  Cause.die(new Error(`transaction "${section}" was ${reason} in an earlier process`))

const anew = (use: Use, reason: string): AnyEffect =>
  Effect.zipRight(
    forgetAll(use, reason),
    Effect.suspend(() => fresh(use))
  )

/** Nothing is begun within the section while this runs. */
const replaying = <A, E, R>(
  { live, section }: Use,
  body: (replay: Replays.Replay) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const replay = Replays.make(section, knownOf(live.journal))
    live.replays.add(replay)
    return Effect.ensuring(
      body(replay),
      Effect.sync(() => live.replays.delete(replay))
    )
  })
