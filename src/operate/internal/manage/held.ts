import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Workflow from "../../../durable/Workflow.js"
import * as Lock from "../../../lock/Lock.js"
import { logged } from "../../../resilience/internal/kernel/logged.js"
import { statusOf } from "../../../storage/rows.js"
import * as Storage from "../../../storage/Storage.js"
import { RecoveryRefused, RecoveryUnderWay } from "../../OperateError.js"
import type { RecoveryType } from "../../RecoveryOptions.js"
import type { RecoveryRecord } from "../../RecoveryRecord.js"
import { failures, recoveries } from "../records/records.js"

/** The lock that a recovery of the failure holds until it ends. */
export const lockOf = (failure: string) => ({ kind: "failure", id: failure })

/** The id of the hold that a rollback leaves for a person. */
const manual = "manual"

/** What the ids of holds of recoveries begin with. Any other hold waits for a person. */
const prefix = "recovery/"

/** Marks the hold of a recovery of a run that was on hold before: it is again when the recovery has ended. */
const overManual = "/manual"

/** A recovery that is about to work on a run. */
export interface Holder {
  readonly run: string
  readonly failure: string
  readonly recovery: string
  readonly type: RecoveryType
  /** How long the process that advances the run may take to leave it. */
  readonly patience: Duration.Duration
}

interface Held {
  /** The id of the hold. */
  readonly id: string
  /** The hold of a person that was there before. */
  readonly before: Storage.Hold | undefined
}

/**
 * Puts the run on hold, waits until no process advances it, and then does the work. No worker takes the run before the
 * last write of the work, and a process that dies meanwhile leaves the hold for `releaseAbandoned`.
 */
export const whileHeld = <E, R>(holder: Holder, work: (heldAs: string) => Effect.Effect<RecoveryRecord, E, R>) =>
  Effect.acquireUseRelease(
    place(holder),
    ({ id }) => Effect.zipRight(untilLeft(holder), work(id)),
    (held, exit) =>
      logged(
        end(holder, held, exit),
        `run "${holder.run}" is still on hold for a recovery that has ended; sweep releases it`
      )
  )

const place = (holder: Holder) =>
  Effect.gen(function* () {
    const { failure, recovery, run, type } = holder
    const storage = yield* Storage.Storage
    const reason = `${type} of failure "${failure}" (recovery "${recovery}")`
    const id = `${prefix}${recovery}`
    const first = yield* orUndone(storage.hold(run, { id, reason }), undo(run, { id, before: undefined }))
    if (first._tag === "Held") return { id, before: undefined } satisfies Held
    if (first._tag === "Unknown") return yield* new RecoveryRefused({ failure, reason: "UnknownRun" })
    const { hold } = first.run
    if (hold === undefined) return yield* underWay(failure, "another process")
    // A recovery of another failure of the run may have died.
    const isManual = !hold.id.startsWith(prefix) || hold.id.endsWith(overManual)
    if (hold.id.startsWith(prefix) && (yield* isAlive(hold.id, run, failure)))
      return yield* underWay(failure, hold.reason)
    const next = isManual ? `${id}${overManual}` : id
    const held: Held = { id: next, before: isManual ? hold : undefined }
    const second = yield* orUndone(storage.hold(run, { id: next, reason }, hold.id), undo(run, held))
    return second._tag === "Held" ? held : yield* underWay(failure, "another process")
  })

/** A write that failed may have been carried out: only its answer was lost. */
const orUndone = <A, E, R>(write: Effect.Effect<A, E, R>, undo: Effect.Effect<unknown, unknown, R>) =>
  Effect.tapErrorCause(write, () => Effect.ignore(undo))

/** Ends a hold, if it is on the run. */
const undo = (run: string, { before, id }: Held) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const found = yield* storage.find(run)
    if (!Option.exists(found, ({ hold }) => hold?.id === id)) return
    yield* before === undefined ? storage.releaseHold(run, id) : storage.hold(run, handedBack(before), id)
  })

const underWay = (failure: string, owner: string) => new RecoveryUnderWay({ failure, owner })

const findRecovery = (id: string) =>
  Effect.catchTags(Effect.asSome(recoveries.get(id)), {
    RecoveryNotFound: () => Effect.succeedNone,
    RecordDamaged: () => Effect.succeedNone
  })

/** Whether the recovery that placed a hold may still be at work: it then has the lock of its failure. */
const isAlive = (hold: string, run: string, except?: string) =>
  Effect.gen(function* () {
    const recovery = hold.slice(prefix.length).replace(overManual, "")
    const known = yield* findRecovery(recovery)
    const subjects = Option.match(known, {
      onSome: ({ failure = "" }) => Effect.succeed([failure]),
      // It died between its hold and its record.
      onNone: () =>
        Effect.map(failures.listReadable({ subject: run, limit: Number.MAX_SAFE_INTEGER }), (all) =>
          all.map(({ id }) => id)
        )
    })
    for (const failure of yield* subjects) {
      if (failure === except) continue
      const { state } = yield* Effect.mapError(Lock.status(lockOf(failure)), storageErrorOf)
      if (state === "held") return true
    }
    return false
  })

/** Locks are kept in the storage, so nothing else can prevent a look at one. */
const storageErrorOf = ({ cause }: Lock.LockError): Storage.StorageError =>
  cause instanceof Storage.StorageError
    ? cause
    : new Storage.StorageError({ reason: "Io", operation: "Reading the lock of a failure", cause })

/** Waits until no process advances the run. It begins no step meanwhile, since the run is on hold. */
const untilLeft = ({ failure, patience, run }: Holder) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const isLeft = Effect.zipWith(storage.find(run), storage.now, (found, now) =>
      Option.match(found, { onNone: () => true, onSome: (run) => statusOf(run, now) !== "running" })
    )
    const poll = (pause: number): Effect.Effect<void, Storage.StorageError> =>
      Effect.flatMap(isLeft, (left) =>
        left
          ? Effect.void
          : Effect.zipRight(
              Effect.sleep(pause),
              Effect.suspend(() => poll(Math.min(pause * 2, 500)))
            )
      )
    yield* Effect.timeoutFail(poll(10), {
      duration: patience,
      onTimeout: () => new RecoveryRefused({ failure, reason: "Running" })
    })
  })

/**
 * The last write. A rollback leaves the run on hold: so that nothing continues it before a person has looked, also if the
 * rollback has begun and not ended. Any other recovery lets the run go, unless a person had it on hold before.
 */
const end = ({ recovery, run, type }: Holder, { before, id }: Held, exit: Exit.Exit<RecoveryRecord, unknown>) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const isOpen = Option.exists(yield* storage.find(run), ({ outcome }) => outcome === undefined)
    const isCompleted = Exit.isSuccess(exit) && exit.value.status === "completed"
    const keep = (hold: Omit<Storage.Hold, "at">) => storage.hold(run, hold, id)
    if (type === "rollback" && isOpen && (isCompleted || (yield* mayBeRewinding(run)))) {
      const reason = `${isCompleted ? "rolled back" : "its rollback has not ended"} (recovery "${recovery}")`
      return yield* keep({ id: manual, reason })
    }
    // A person holds an ended run, too; once a recovery has completed it, there is nothing to look at.
    return before !== undefined && (isOpen || !isCompleted)
      ? yield* keep(handedBack(before))
      : yield* storage.releaseHold(run, id)
  })

/** Also if that cannot be read. */
const mayBeRewinding = (run: string) =>
  Effect.match(Workflow.status(run), {
    onFailure: () => true,
    onSuccess: ({ rewinding }) => Option.isSome(rewinding)
  })

/** The hold of a person as it was; a person takes over that of a recovery that died. */
const handedBack = ({ id, reason }: Storage.Hold) => ({ id: id.startsWith(prefix) ? manual : id, reason })

/**
 * Ends the holds of recoveries that work no more, and returns their number. The run of a rollback, and one that a person
 * had on hold before, stay on hold for a person.
 */
export const releaseAbandoned = Effect.gen(function* () {
  const storage = yield* Storage.Storage
  let ended = 0
  for (const { hold, id: run } of yield* heldRuns) {
    if (hold === undefined || !hold.id.startsWith(prefix) || (yield* isAlive(hold.id, run))) continue
    const recovery = hold.id.slice(prefix.length).replace(overManual, "")
    const known = yield* findRecovery(recovery)
    const staysHeld = hold.id.endsWith(overManual) || Option.exists(known, ({ type }) => type === "rollback")
    const reason = `recovery "${recovery}" ended with its process`
    const isEnded = staysHeld
      ? Effect.map(storage.hold(run, { id: manual, reason }, hold.id), ({ _tag }) => _tag === "Held")
      : storage.releaseHold(run, hold.id)
    if (yield* isEnded) ended++
  }
  return ended
})

/** How many of the newest failures and recoveries may have left a hold on a run that has ended. */
const recent = 1_000

/** The open runs that are on hold, and the ended ones of recent failures and recoveries: no list finds their holds. */
const heldRuns = Effect.gen(function* () {
  const storage = yield* Storage.Storage
  const open = yield* storage.list({ status: "held", limit: Number.MAX_SAFE_INTEGER })
  const known = new Set(open.map(({ id }) => id))
  const failed = yield* failures.listReadable({ status: "open", limit: recent })
  const recovered = yield* recoveries.listReadable({ limit: recent })
  const ended: Array<Storage.Run> = []
  for (const { run } of [...failed, ...recovered]) {
    if (run === undefined || known.has(run)) continue
    known.add(run)
    ended.push(...Option.toArray(yield* storage.find(run)))
  }
  return [...open, ...ended]
})
