import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { emptyJournal } from "../../../journal/Journal.js"
import { encodeCanonical, valueCodec } from "../../../journal/JournalCodec.js"
import {
  JournalError,
  type RunError,
  type RunHeld,
  RunMismatch,
  RunNotFound,
  RunQueued
} from "../../../journal/RunError.js"
import { hideSecrets } from "../../../journal/Secrets.js"
import { checkedNames } from "../../../resilience/InvalidName.js"
import * as Storage from "../../../storage/Storage.js"
import { onChangeOf, Pulse } from "../execution/activity.js"
import { nothingWanted, runHeld } from "../execution/control.js"
import { byCaller, type Mode } from "../execution/execution.js"
import { timed, timedThen } from "../execution/storeClock.js"
import { type AnyDefinition, type AnyEffect, advance, type Definition, readJournalOf } from "./advance.js"
import { adopt } from "./conclude.js"

export interface Request<Input> {
  readonly id: string
  readonly input: Input
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** The run that waits for this one, which is its child. */
  readonly parent?: Storage.Parent | undefined
}

/** Starts a run, resumes it, or returns its recorded outcome. */
export const execute = <Input, A, E, R>(
  definition: Definition<Input, A, E, R>,
  request: Request<Input>,
  mode: Mode = byCaller
): Effect.Effect<A, E | RunError, R | Storage.Storage> =>
  // Values are encoded and decoded by the definition's own schemas, so they are of its types.
  Effect.flatMap(Storage.Storage, (storage) => executeIn(storage, definition, request, mode)) as Effect.Effect<
    A,
    E | RunError,
    R | Storage.Storage
  >

export const executeIn = (storage: Storage.Service, definition: AnyDefinition, request: Request<unknown>, mode: Mode) =>
  // Uninterruptible between acquiring the lease and renewing it.
  Effect.uninterruptibleMask((restore) =>
    timedThen(
      open(storage, definition, { ...request, heldAs: mode.heldAs }, restore),
      ({ acquired: opened, clockOf }) => {
        const { input } = request
        switch (opened._tag) {
          case "Finished":
            return restore(adopt(definition, request.id, opened.run.outcome as Storage.Outcome))
          case "Gone":
            return Effect.fail(new RunNotFound({ run: request.id }))
          case "Leased":
          case "Held":
          case "Queued":
            return Effect.fail(notOpened(opened._tag, opened.run))
          case "Created":
          case "Claimed": {
            const { lease, run } = opened
            const clock = clockOf(lease)
            // A later generation has an input of its own.
            if (run.generation > 1) return executeClaimed(storage, definition, { clock, lease, run }, restore, mode)
            const wanted = { ...nothingWanted, cancel: run.cancel }
            const { signals: signalsBefore } = run
            const leased = {
              ...{ storage, definition, input, lease, clock, restore, mode, wanted },
              generation: 1,
              signalsBefore
            }
            return opened._tag === "Created"
              ? advance(leased, emptyJournal())
              : Effect.flatMap(readJournalOf(storage, lease), (journal) => advance(leased, journal))
          }
        }
      }
    )
  )

/** Why the store did not lease an open run. */
export const notOpened = (
  reason: "Leased" | "Held" | "Queued",
  { hold, id: run, leaseUntil, owner, queue }: Storage.Run
): Storage.LeaseHeld | RunHeld | RunQueued => {
  if (reason === "Held" && hold !== undefined) return runHeld(run, hold)
  return reason === "Queued" && queue !== undefined
    ? new RunQueued({ run, queue: queue.name })
    : new Storage.LeaseHeld({ run, owner: owner ?? "an unknown process", until: leaseUntil ?? 0 })
}

// ---- claiming due runs

/** A run that this process has leased, with the store's clock. */
export interface ClaimedRun {
  readonly run: Storage.Run
  readonly lease: Storage.Lease
  readonly clock: Clock.Clock
}

/**
 * Claims due runs. Call it in an uninterruptible region, and execute or release each
 * of them there: their leases are not renewed yet.
 */
export const claimDue = (
  storage: Storage.Service,
  query: Storage.DueQuery,
  restore: Storage.Restore
): Effect.Effect<
  { readonly claimed: ReadonlyArray<ClaimedRun>; readonly damaged: ReadonlyArray<Storage.Run> },
  Storage.StorageError
> =>
  Effect.map(timed(storage.claimDue(query, restore)), ({ acquired, clockOf }) => ({
    claimed: acquired.flatMap((one) =>
      one._tag === "Claimed" ? [{ run: one.run, lease: one.lease, clock: clockOf(one.lease) }] : []
    ),
    damaged: acquired.flatMap((one) => (one._tag === "Damaged" ? [one.run] : []))
  }))

/** Lines are written under a lease, so there are none before the first one. */
const journalOfClaimed = (storage: Storage.Service, lease: Storage.Lease) =>
  lease.token === 1 ? Effect.succeed(emptyJournal()) : readJournalOf(storage, lease)

/** Executes a claimed run, in the uninterruptible region that claimed it. Releases the lease if the input is unreadable. */
export const executeClaimed = (
  storage: Storage.Service,
  definition: AnyDefinition,
  { clock, lease, run }: ClaimedRun,
  restore: Storage.Restore,
  mode: Mode
): AnyEffect => {
  const decoded = restore(Effect.suspend(() => inputOfRun(definition, run)))
  return Effect.flatMap(
    Effect.onError(decoded, () => storage.release(lease)),
    (input) =>
      Effect.flatMap(journalOfClaimed(storage, lease), (journal) =>
        advance(
          {
            storage,
            definition,
            input,
            lease,
            clock,
            restore,
            mode,
            wanted: { ...nothingWanted, cancel: run.cancel },
            generation: run.generation,
            signalsBefore: run.signals
          },
          journal
        )
      )
  )
}

export const inputOfRun = (definition: AnyDefinition, { id, input }: Storage.Run) =>
  Effect.mapError(decodeInput(definition, input), (cause) => unreadableInput(id, cause))

const decodeInput = (definition: AnyDefinition, recorded: string) =>
  valueCodec(definition.input).decode(recorded === "" ? undefined : recorded)

const unreadableInput = (run: string, cause: unknown) =>
  new JournalError({ reason: "Decode", run, record: "input", cause })

// ---- opening a run

type Open = Exclude<Storage.Opened, { readonly _tag: "Different" }>

/** The row that a request asks for. */
const newRun = (definition: AnyDefinition, { id, labels = {}, parent }: Request<unknown>, input: string) => ({
  id,
  workflow: definition.name,
  version: definition.version,
  labels,
  input,
  parent
})

/** A child belongs to its parent alone: another one would never hear of its end. */
const otherParent = (run: Storage.Run, { parent }: Pick<Request<unknown>, "parent">): RunMismatch | undefined =>
  parent === undefined || run.parent?.run === parent.run
    ? undefined
    : new RunMismatch({ run: run.id, field: "parent", recorded: run.parent?.run ?? "", given: parent.run })

/** Creates or claims the run. Fails with `RunMismatch` if it has another workflow or input. */
const open = (
  storage: Storage.Service,
  definition: AnyDefinition,
  request: Request<unknown> & Pick<Mode, "heldAs">,
  restore: Storage.Restore
) => {
  const { heldAs, id, input, labels } = request
  // The queue of a run does not apply to its holder.
  const holder = { heldAs, ignoreQueue: heldAs !== undefined }
  const openWith = (input: string) => storage.open({ ...newRun(definition, request, input), ...holder }, restore)
  const text = Effect.zipRight(checkedNames([["run", id]], labels), restore(encodeInput(definition, id, input)))
  return Effect.flatMap(text, (text) =>
    Effect.flatMap(openWith(text), (opened) =>
      // Most runs are new, and have no parent.
      opened._tag === "Created" && request.parent === undefined
        ? Effect.succeed(opened)
        : checkOpened(storage, definition, request, opened, text, openWith, restore)
    )
  )
}

const checkOpened = Effect.fnUntraced(function* (
  storage: Storage.Service,
  definition: AnyDefinition,
  request: Request<unknown>,
  first: Storage.Opened,
  text: string,
  openWith: (input: string) => Effect.Effect<Storage.Opened, Storage.StorageError>,
  restore: Storage.Restore
) {
  let opened = first
  // Opened with the recorded text, the run differs again only if another generation has begun meanwhile.
  while (isDifferent(opened)) {
    yield* restore(checkAlike(definition, opened.run, text))
    opened = yield* openWith(opened.run.input)
  }
  const mismatch = opened._tag === "Gone" ? undefined : otherParent(opened.run, request)
  if (mismatch === undefined) return opened
  if ("lease" in opened) yield* storage.release(opened.lease)
  return yield* mismatch
})

const isDifferent = (opened: Storage.Opened): opened is Exclude<Storage.Opened, Open> => opened._tag === "Different"

/** Fails with `RunMismatch` unless the run was recorded for this workflow and an equal input. */
const checkAlike = Effect.fnUntraced(function* (definition: AnyDefinition, recorded: Storage.Run, text: string) {
  if (recorded.workflow !== definition.name) return yield* otherWorkflow(recorded, definition)
  // The input that the run was started with is gone with its first generation.
  if (recorded.input === text || recorded.generation > 1) return
  // The schema may have changed since the run was started, and encode the same input differently.
  const reencoded = yield* reencodeInput(definition, recorded.id, recorded.input)
  if (reencoded === text) return
  const [had, given] = [hideSecrets(recorded.input), hideSecrets(text)]
  return yield* new RunMismatch({ run: recorded.id, field: "input", recorded: had, given })
})

export const otherWorkflow = (run: { readonly id: string; readonly workflow: string }, definition: AnyDefinition) =>
  new RunMismatch({ run: run.id, field: "workflow", recorded: run.workflow, given: definition.name })

const encodeInput = (definition: AnyDefinition, run: string, input: unknown) =>
  Effect.mapError(
    encodeCanonical(definition.input, input),
    (cause) => new JournalError({ reason: "Encode", run, record: "input", cause })
  )

const reencodeInput = (definition: AnyDefinition, run: string, recorded: string) =>
  decodeInput(definition, recorded).pipe(
    Effect.flatMap((input) => encodeCanonical(definition.input, input)),
    Effect.mapError((cause) => unreadableInput(run, cause))
  )

// ---- starting and joining

const keyOf = ({ key, name }: Storage.RunQueue) => [`key of queue "${name}"`, key] as const

/** How a run is recorded for the workers. Durations are milliseconds. */
export type Recording = Pick<Storage.EnqueueRequest, "queue" | "delay" | "debounce">

/** Records a run without executing it. */
export const start = (definition: AnyDefinition, request: Request<unknown>, recording: Recording = {}) =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const { id, input, labels } = request
    const { queue } = recording
    yield* checkedNames([["run", id], ...(queue === undefined || queue.key === "" ? [] : [keyOf(queue)])], labels)
    const text = yield* encodeInput(definition, id, input)
    const { _tag, run } = yield* storage.enqueue({ ...newRun(definition, request, text), ...recording })
    if (_tag !== "Existing") return
    yield* otherParent(run, request) ?? checkAlike(definition, run, text)
  }) as Effect.Effect<void, RunError, Storage.Storage>

/** Waits until the outcome of a run is recorded, and returns it. */
export const join = (definition: AnyDefinition, id: string): AnyEffect =>
  Effect.flatMap(Storage.Storage, (storage) =>
    Effect.suspend(() => {
      const changed = new Pulse()
      const subscribe = Effect.sync(() => onChangeOf(storage, id, changed))
      const poll: (pause: number) => AnyEffect = (pause) =>
        Effect.suspend(() => {
          const { next } = changed
          return Effect.flatMap(storage.find(id), (found): AnyEffect => {
            if (Option.isNone(found)) return new RunNotFound({ run: id })
            const { outcome, workflow } = found.value
            if (workflow !== definition.name) return otherWorkflow(found.value, definition)
            if (outcome !== undefined) return adopt(definition, id, outcome)
            return Effect.zipRight(
              Effect.raceFirst(Deferred.await(next), Effect.sleep(pause)),
              poll(Math.min(pause * 2, longestPause))
            )
          })
        })
      return Effect.acquireUseRelease(
        subscribe,
        () => poll(20),
        (unsubscribe) => Effect.sync(unsubscribe)
      )
    })
  )

/** News of other processes are only hints, so `join` also polls; in milliseconds. */
const longestPause = 1_000
