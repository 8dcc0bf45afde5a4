import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import type * as Schema from "effect/Schema"
import * as Events from "../../react/Events.js"
import * as Storage from "../../storage/Storage.js"
import { JournalError, type RunError, RunMismatch } from "../RunError.js"
import * as Branch from "./branch.js"
import { canonical, causeCodec, valueCodec } from "./codec.js"
import { readJournal, type StepRecord } from "./journal.js"
import { emit, type LiveRun, Run, type RunService } from "./liveRun.js"

export interface Definition<in Input, out A, out E, out R> {
  readonly name: string
  readonly version: string
  readonly input: Schema.Schema.Any
  readonly success: Schema.Schema.Any
  readonly error: Schema.Schema.All
  readonly body: (input: Input) => Effect.Effect<A, E, R | Run>
}

interface Request<Input> {
  readonly id: string
  readonly input: Input
  readonly labels?: Readonly<Record<string, string>> | undefined
}

type AnyEffect = Effect.Effect<unknown, unknown, unknown>

type AnyDefinition = Definition<never, unknown, unknown, unknown>

export const execute = <Input, A, E, R>(
  definition: Definition<Input, A, E, R>,
  request: Request<Input>
): Effect.Effect<A, E | RunError, R | Storage.Storage> =>
  // Values pass through the definition's own schemas on every way, so they are of its types.
  Effect.flatMap(Storage.Storage, (storage) => executeIn(storage, definition, request)) as Effect.Effect<
    A,
    E | RunError,
    R | Storage.Storage
  >

const executeIn = (storage: Storage.Service, definition: AnyDefinition, request: Request<unknown>) =>
  // Between getting the lease and keeping it nothing may come.
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(open(storage, definition, request, restore), (opened) => {
      switch (opened._tag) {
        case "Finished":
          return restore(adopt(definition, request.id, opened.run.outcome as Storage.Outcome))
        case "Held":
          return Effect.fail(held(opened.run))
        case "Created":
          return advance(storage, definition, request, opened.lease, { steps: new Map(), lastSeq: 0 }, restore)
        case "Claimed":
          return Effect.flatMap(readSteps(storage, opened.lease), (journal) =>
            advance(storage, definition, request, opened.lease, journal, restore)
          )
      }
    })
  )

const held = (run: Storage.Run) =>
  new Storage.LeaseHeld({ run: run.id, owner: run.owner ?? "nobody", until: run.leaseUntil ?? 0 })

// ---- opening

type Open = Exclude<Storage.Opened, { readonly _tag: "Different" }>

const open = Effect.fnUntraced(function* (
  storage: Storage.Service,
  definition: AnyDefinition,
  { id, input, labels = {} }: Request<unknown>,
  restore: Storage.Restore
) {
  const text = yield* restore(encodeInput(definition, id, input))
  const wanted = { id, workflow: definition.name, version: definition.version, labels }
  const opened = yield* storage.open({ ...wanted, input: text }, restore)
  if (!isDifferent(opened)) return opened
  const recorded = opened.run
  if (recorded.workflow !== definition.name) {
    return yield* new RunMismatch({ run: id, field: "workflow", recorded: recorded.workflow, given: definition.name })
  }
  // The schema may write the same input in another way than when the run was started.
  const rewritten = yield* restore(rewriteInput(definition, id, recorded.input))
  if (rewritten !== text) {
    return yield* new RunMismatch({ run: id, field: "input", recorded: recorded.input, given: text })
  }
  // Opened with the recorded text it cannot be different again.
  return (yield* storage.open({ ...wanted, input: recorded.input }, restore)) as Open
})

const isDifferent = (opened: Storage.Opened): opened is Exclude<Storage.Opened, Open> => opened._tag === "Different"

const encodeInput = (definition: AnyDefinition, run: string, input: unknown) =>
  valueCodec(definition.input)
    .encode(input)
    .pipe(
      Effect.map(canonical),
      Effect.mapError((cause) => new JournalError({ reason: "Encode", run, record: "input", cause }))
    )

const rewriteInput = (definition: AnyDefinition, run: string, recorded: string) => {
  const codec = valueCodec(definition.input)
  return codec.decode(recorded === "" ? undefined : recorded).pipe(
    Effect.flatMap(codec.encode),
    Effect.map(canonical),
    Effect.mapError((cause) => new JournalError({ reason: "Decode", run, record: "input", cause }))
  )
}

// ---- advancing

interface Journal {
  readonly steps: ReadonlyMap<string, StepRecord>
  readonly lastSeq: number
}

const readSteps = (storage: Storage.Service, lease: Storage.Lease): Effect.Effect<Journal, RunError> =>
  Effect.onError(
    Effect.flatMap(storage.journal(lease.key), (entries) => {
      const steps = readJournal(lease.run, entries)
      return steps instanceof Map
        ? Effect.succeed({ steps, lastSeq: entries[entries.length - 1]?.seq ?? 0 })
        : Effect.fail(steps)
    }),
    () => storage.release(lease)
  )

const advance = (
  storage: Storage.Service,
  definition: AnyDefinition,
  { id, input }: Request<unknown>,
  lease: Storage.Lease,
  { lastSeq, steps }: Journal,
  restore: Storage.Restore
) =>
  Effect.zipWith(Events.watch, Effect.clock, (watch, clock) => {
    const live: LiveRun = {
      id,
      workflow: definition.name,
      lease,
      storage,
      clock,
      steps,
      uses: new Map(),
      running: new Set(),
      watch,
      lastSeq,
      halt: () => {},
      diedIn: undefined,
      stopped: undefined
    }
    // The input was encoded by the definition's own schema, so it is of the type the body takes.
    const body = Effect.suspend(() => definition.body(input as never))
    const inside = within({ id, workflow: live.workflow, section: "", live }, body)
    const running = Effect.zipRight(
      emit(live, () => began(live)),
      runFenced(live, restore(inside), restore)
    )
    return Effect.flatMap(running, (exit) => settle(live, definition, exit))
  }).pipe(Effect.flatten)

/** In a fiber of its own, so nothing has to be put back. */
const within = (run: RunService, body: AnyEffect): AnyEffect =>
  Effect.withFiberRuntime((fiber) =>
    Effect.zipRight(
      FiberRef.set(FiberRef.currentContext, Context.add(fiber.currentContext, Run, run)),
      Effect.zipRight(FiberRef.set(Branch.current, Branch.makeRoot()), body)
    )
  )

const began = (live: LiveRun): Events.Event => {
  const { id: run, steps, workflow } = live
  const answered = [...steps.values()].filter(({ status }) => status === "completed" || status === "failed").length
  return live.lease.token === 1
    ? { _tag: "RunStarted", source: { run }, workflow }
    : { _tag: "RunResumed", source: { run }, workflow, answered }
}

/**
 * Runs the body in a fiber of its own, so that losing the lease can interrupt
 * it without interrupting the caller.
 */
const runFenced = <R>(live: LiveRun, body: Effect.Effect<unknown, unknown, R>, restore: Storage.Restore) =>
  Effect.flatMap(Effect.fork(body), (fiber) => {
    live.halt = () => fiber.unsafeInterruptAsFork(FiberId.none)
    const letGo = live.storage.keep(live.lease, (error) => {
      live.stopped ??= error
      live.halt()
    })
    return Effect.matchCauseEffect(restore(Fiber.await(fiber)), {
      onSuccess: (exit) => {
        letGo()
        return Effect.succeed(exit)
      },
      // Only the caller's interruption ends the wait early; the body ends before the lease does.
      onFailure: () => Effect.tap(Fiber.interrupt(fiber), () => Effect.sync(letGo))
    })
  })

// ---- settling

const settle = (live: LiveRun, definition: AnyDefinition, exit: Exit.Exit<unknown, unknown>) => {
  if (live.stopped !== undefined) return stopped(live, Effect.fail(live.stopped), live.stopped._tag)
  if (Exit.isSuccess(exit)) return completed(live, definition, exit.value)
  return Cause.isFailure(exit.cause) && !Cause.isDie(exit.cause)
    ? failed(live, definition, exit.cause)
    : stopped(live, exit, Cause.isDie(exit.cause) ? "a defect" : "interruption")
}

/** No outcome: the lease goes back, and whoever executes the run next goes on. */
const stopped = <A, E>(live: LiveRun, result: Effect.Effect<A, E>, reason: string) =>
  Effect.zipRight(
    Effect.zipRight(
      live.storage.release(live.lease),
      emit(live, () => ({ _tag: "RunStopped", source: { run: live.id, step: live.diedIn }, reason }))
    ),
    result
  )

const completed = (live: LiveRun, definition: AnyDefinition, value: unknown) =>
  Effect.matchEffect(valueCodec(definition.success).encode(value), {
    onFailure: (cause) => unwritable(live, "success", cause),
    onSuccess: (text) => record(live, definition, "completed", text ?? "", Effect.succeed(value))
  })

const failed = (live: LiveRun, definition: AnyDefinition, cause: Cause.Cause<unknown>) =>
  Effect.matchEffect(causeCodec(definition.error).encode(cause), {
    onFailure: (issue) => unwritable(live, "error", issue),
    onSuccess: (text) => record(live, definition, "failed", text ?? "", Effect.failCause(cause))
  })

const unwritable = (live: LiveRun, record: string, cause: unknown) =>
  stopped(live, new JournalError({ reason: "Encode", run: live.id, record, cause }), "JournalError")

/** The first recorded outcome is the outcome; who comes late adopts it. */
const record = (
  live: LiveRun,
  definition: AnyDefinition,
  status: Storage.Outcome["status"],
  exit: string,
  own: Effect.Effect<unknown, unknown>
) =>
  Effect.matchEffect(live.storage.finish(live.lease, { status, exit }), {
    onFailure: (error) => stopped(live, Effect.fail(error), error._tag),
    onSuccess: (recorded) =>
      Effect.zipRight(
        emit(live, () => ({ _tag: "RunFinished", source: { run: live.id }, outcome: recorded.status })),
        recorded.status === status && recorded.exit === exit ? own : adopt(definition, live.id, recorded)
      )
  })

const adopt = (
  definition: AnyDefinition,
  run: string,
  outcome: Storage.Outcome
): Effect.Effect<unknown, unknown, unknown> => {
  const text = outcome.exit === "" ? undefined : outcome.exit
  const unreadable = (record: string) => (cause: unknown) => new JournalError({ reason: "Decode", run, record, cause })
  return outcome.status === "completed"
    ? Effect.mapError(valueCodec(definition.success).decode(text), unreadable("success"))
    : Effect.flatMap(Effect.mapError(causeCodec(definition.error).decode(text), unreadable("error")), Effect.failCause)
}
