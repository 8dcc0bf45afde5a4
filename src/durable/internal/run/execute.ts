import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { emptyJournal } from "../../../journal/Journal.js"
import { canonical, valueCodec } from "../../../journal/JournalCodec.js"
import { JournalError, type RunError, RunMismatch, RunNotFound } from "../../../journal/RunError.js"
import { hideSecrets } from "../../../journal/Secrets.js"
import { checkedNames } from "../../../resilience/InvalidName.js"
import * as Storage from "../../../storage/Storage.js"
import { Pulse } from "../execution/activity.js"
import { byCaller, type Mode } from "../execution/execution.js"
import { type AnyDefinition, type AnyEffect, adopt, advance, type Definition, readJournalOf } from "./advance.js"

interface Request<Input> {
  readonly id: string
  readonly input: Input
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** The store's number of a run that a worker has found: the run is executed, and none is created. */
  readonly key?: number | undefined
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

const executeIn = (storage: Storage.Service, definition: AnyDefinition, request: Request<unknown>, mode: Mode) =>
  // Uninterruptible between acquiring the lease and renewing it.
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(open(storage, definition, request, restore, mode.onlyDue ? "due" : undefined), (opened) => {
      const { input } = request
      switch (opened._tag) {
        case "Finished":
          return restore(adopt(definition, request.id, opened.run.outcome as Storage.Outcome))
        case "Gone":
          return Effect.fail(new RunNotFound({ run: request.id }))
        case "Held":
        case "Waiting":
          return Effect.fail(leaseHeld(opened.run))
        case "Created":
          return advance({ storage, definition, input, lease: opened.lease, restore, mode }, emptyJournal())
        case "Claimed": {
          const { lease } = opened
          return Effect.flatMap(readJournalOf(storage, lease), (journal) =>
            advance({ storage, definition, input, lease, restore, mode }, journal)
          )
        }
      }
    })
  )

export const leaseHeld = (run: Storage.Run) =>
  new Storage.LeaseHeld({ run: run.id, owner: run.owner ?? "an unknown process", until: run.leaseUntil ?? 0 })

// ---- opening a run

type Open = Exclude<Storage.Opened, { readonly _tag: "Different" }>

/** Creates or claims the run. Fails with `RunMismatch` if it has another workflow or input. */
const open = Effect.fnUntraced(function* (
  storage: Storage.Service,
  definition: AnyDefinition,
  { id, input, key, labels = {} }: Request<unknown>,
  restore: Storage.Restore,
  only?: "due" | "new"
) {
  yield* checkedNames([["run", id]], labels)
  const text = yield* restore(encodeInput(definition, id, input))
  const wanted = { id, workflow: definition.name, version: definition.version, labels, only, key }
  const opened = yield* storage.open({ ...wanted, input: text }, restore)
  if (!isDifferent(opened)) return opened
  const recorded = opened.run
  if (recorded.workflow !== definition.name) return yield* otherWorkflow(recorded, definition)
  // The schema may have changed since the run was started, and encode the same input differently.
  const reencoded = yield* restore(reencodeInput(definition, id, recorded.input))
  if (reencoded !== text) {
    const [had, given] = [hideSecrets(recorded.input), hideSecrets(text)]
    return yield* new RunMismatch({ run: id, field: "input", recorded: had, given })
  }
  // Opened with the recorded text, the run cannot differ again.
  return (yield* storage.open({ ...wanted, input: recorded.input }, restore)) as Open
})

const isDifferent = (opened: Storage.Opened): opened is Exclude<Storage.Opened, Open> => opened._tag === "Different"

export const otherWorkflow = (run: { readonly id: string; readonly workflow: string }, definition: AnyDefinition) =>
  new RunMismatch({ run: run.id, field: "workflow", recorded: run.workflow, given: definition.name })

const encodeInput = (definition: AnyDefinition, run: string, input: unknown) =>
  valueCodec(definition.input)
    .encode(input)
    .pipe(
      Effect.map(canonical),
      Effect.mapError((cause) => new JournalError({ reason: "Encode", run, record: "input", cause }))
    )

const reencodeInput = (definition: AnyDefinition, run: string, recorded: string) => {
  const codec = valueCodec(definition.input)
  return codec.decode(recorded === "" ? undefined : recorded).pipe(
    Effect.flatMap(codec.encode),
    Effect.map(canonical),
    Effect.mapError((cause) => new JournalError({ reason: "Decode", run, record: "input", cause }))
  )
}

// ---- starting and joining

/** Records a run without executing it. */
export const start = (definition: AnyDefinition, request: Request<unknown>) =>
  Effect.flatMap(Storage.Storage, (storage) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(open(storage, definition, request, restore, "new"), (opened) => {
        if (!("lease" in opened)) return Effect.void
        const { lease, run } = opened
        // Suspended at once: a run without a lease and without a suspension would not be due.
        const suspended = storage.suspend(lease, { dueAt: run.dueAt, signals: Number.MAX_SAFE_INTEGER })
        const orReleased = Effect.onError(suspended, () => storage.release(lease))
        return Effect.catchTag(orReleased, "LeaseLost", () => Effect.void)
      })
    )
  ) as Effect.Effect<void, RunError, Storage.Storage>

/** Waits until the outcome of a run is recorded, and returns it. */
export const join = (definition: AnyDefinition, id: string): AnyEffect =>
  Effect.flatMap(Storage.Storage, (storage) =>
    Effect.suspend(() => {
      const changed = new Pulse()
      const subscribe = Effect.sync(() => storage.onChange((run) => run === id && changed.notify()))
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

/** Changes of other processes are not pushed, so `join` polls for them; in milliseconds. */
const longestPause = 1_000
