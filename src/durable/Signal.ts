/**
 * A signal sends a value to a run: an approval, a webhook, the end of a job
 * elsewhere. The run waits for it without a process. A signal that is sent
 * before the run waits for it is stored.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { toOpenText } from "../journal/CanonicalJson.js"
import { valueCodec } from "../journal/JournalCodec.js"
import { JournalError, type RunNotFound } from "../journal/RunError.js"
import { holdsSecrets } from "../journal/Secrets.js"
import { durationText } from "../resilience/DurationText.js"
import { messageOf } from "../resilience/Foreign.js"
import { checkedNames, checkName, type InvalidName } from "../resilience/InvalidName.js"
import { millis } from "../resilience/internal/kernel/options.js"
import { escapeName, joinKey } from "../resilience/Key.js"
import type * as Storage from "../storage/Storage.js"
import { Run, stop } from "./internal/execution/execution.js"
import { jsonSchemaOf } from "./internal/wait/jsonSchema.js"
import {
  type NotAwaited,
  type NotOpen,
  sendJson as sendJson_,
  sendSignal,
  signalKey,
  type ValueRefused
} from "./internal/wait/resolve.js"
import { wait } from "./internal/wait/wait.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Signal<in out A, out R = never> {
  readonly name: string
  /**
   * Waits for the signal in the body of a workflow. The first one that is sent
   * counts, and each resume returns it again. A value that does not fit the schema
   * is refused, and the wait continues, with the reason where the run is shown.
   * Fails with `SignalTimeout` if none was sent `within` the limit; a limit of 0
   * does not wait.
   */
  readonly wait: {
    (options?: Which): Effect.Effect<A, never, Run | R>
    (options: Which & { readonly within: Duration.DurationInput }): Effect.Effect<A, SignalTimeout, Run | R>
  }
  /** Sends the signal to a run. Fails with `NotOpen` if it was sent before. */
  readonly send: (
    run: string,
    value: A,
    options?: Which
  ) => Effect.Effect<
    void,
    InvalidName | RunNotFound | NotOpen | JournalError | Storage.StorageError,
    Storage.Storage | R
  >
}

/**
 * Tells signals of one name apart.
 *
 * @since 0.1.0
 * @category models
 */
export interface Which {
  /** For example the chapter that is approved. Each id takes one signal. */
  readonly id?: string | undefined
}

/**
 * The signal was not sent in time.
 *
 * @since 0.1.0
 * @category errors
 */
export class SignalTimeout extends Data.TaggedError("SignalTimeout")<{
  readonly run: string
  readonly signal: string
  readonly within: Duration.Duration
}> {
  override get message(): string {
    return `Signal "${this.signal}" was not sent to run "${this.run}" within ${durationText(this.within)}.`
  }
}

/** The payload of a signal; without a value for undefined. */
const decodeSent = Schema.decode(Schema.parseJson(Schema.Struct({ value: Schema.optional(Schema.Unknown) })))

/**
 * Defines a signal, once, at the top of a module.
 *
 * @example
 * ```ts
 * import { Signal, Storage, Workflow } from "effect-recovery"
 * import { Effect, Schema } from "effect"
 *
 * const Approval = Signal.make("approval", Schema.Struct({ by: Schema.String }))
 *
 * const Publish = Workflow.make("publish", { success: Schema.String }, () =>
 *   Effect.map(Approval.wait(), ({ by }) => `approved by ${by}`)
 * )
 *
 * Effect.gen(function* () {
 *   const waits = yield* Effect.flip(Workflow.execute(Publish, { id: "post-1" }))
 *   console.log(waits._tag) // RunSuspended
 *   yield* Approval.send("post-1", { by: "Ada" })
 *   console.log(yield* Workflow.execute(Publish, { id: "post-1" })) // approved by Ada
 * }).pipe(Effect.provide(Storage.layerMemory), Effect.runPromise)
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <A, I, R>(name: string, schema: Schema.Schema<A, I, R>): Signal<A, R> => {
  checkName("signal", name)
  const codec = valueCodec(schema)
  // The codec needs what the schema needs.
  const encode = (value: A) => codec.encode(value) as Effect.Effect<string | undefined, unknown, R>
  const decode = (text: string) => codec.decode(text) as Effect.Effect<A, unknown, R>
  const about = (id: string | undefined) => (id === undefined ? name : `${name}/${id}`)

  const waitFor = ({ id, within }: Which & { readonly within?: Duration.DurationInput | undefined } = {}) =>
    Effect.gen(function* () {
      if (id !== undefined) checkName("signal", id)
      const limit = within === undefined ? undefined : millis("within", within)
      const isSecret = holdsSecrets(schema.ast)
      const context = yield* Effect.context<R>()
      const read = (payload: string) =>
        Effect.flatMap(decodeSent(payload), ({ value }) => decode(JSON.stringify(value)))
      const end = yield* wait({
        name: id === undefined ? escapeName(name) : joinKey(name, id),
        kind: "signal",
        about: about(id),
        signal: signalKey(name, id),
        schema: jsonSchemaOf(schema),
        isSecret,
        millis: limit,
        // A secret may be in the message of what refuses it.
        refusal: (payload) =>
          Effect.matchCause(Effect.provide(read(payload), context), {
            onFailure: (cause) =>
              isSecret ? "the value does not fit" : `the value does not fit: ${messageOf(Cause.squash(cause))}`,
            onSuccess: () => undefined
          })
      })
      const run = yield* Run
      if (end.payload === undefined) {
        return yield* new SignalTimeout({ run: run.id, signal: about(id), within: Duration.millis(limit ?? 0) })
      }
      // The program has another schema than the one that accepted the value.
      return yield* Effect.catchAll(read(end.payload), (cause) =>
        stop(run.execution, new JournalError({ reason: "Decode", run: run.id, record: `signal "${about(id)}"`, cause }))
      )
    })

  return {
    name,
    // Without `within` the wait cannot time out.
    wait: waitFor as Signal<A, R>["wait"],
    send: Effect.fn("Signal.send")(function* (run, value, { id } = {}) {
      yield* checkedNames(id === undefined ? [] : [["signal", id]], undefined)
      const text = yield* Effect.mapError(
        encode(value),
        (cause) => new JournalError({ reason: "Encode", run, record: `signal "${about(id)}"`, cause })
      )
      const payload = text === undefined ? "{}" : `{"value":${text}}`
      yield* sendSignal(run, signalKey(name, id), payload, `signal "${about(id)}"`)
    })
  }
}

/**
 * Sends a signal as JSON, for callers without its schema, such as an operator. The
 * wait of the run has recorded the JSON Schema: a value that does not fit it is
 * refused. Without a value the signal is sent as `undefined`.
 *
 * @example
 * ```ts
 * import { Signal, Storage } from "effect-recovery"
 * import { Effect } from "effect"
 *
 * export const approve = (post: string) =>
 *   Signal.sendJson(post, "approval", { by: "Ada" }).pipe(Effect.provide(Storage.layerMemory))
 * ```
 *
 * @since 0.1.0
 * @category sending
 */
export const sendJson: (
  run: string,
  name: string,
  value?: unknown,
  options?: Which & {
    /** Stores the signal also if the run does not wait for it yet; no schema checks it then. Defaults to false. */
    readonly early?: boolean | undefined
  }
) => Effect.Effect<
  void,
  InvalidName | RunNotFound | NotAwaited | NotOpen | ValueRefused | JournalError | Storage.StorageError,
  Storage.Storage
> = Effect.fn("Signal.sendJson")(function* (run, name, value, { early = false, id } = {}) {
  yield* checkedNames([["signal", name], ...(id === undefined ? [] : [["signal", id] as const])], undefined)
  const text = yield* Effect.try({
    try: () => (value === undefined ? undefined : toOpenText(value)),
    catch: (cause) => new JournalError({ reason: "Encode", run, record: `signal "${name}"`, cause })
  })
  yield* sendJson_(run, { name, id, early }, text)
})

export {
  /**
   * The run does not wait for the signal.
   *
   * @since 0.1.0
   * @category errors
   */
  NotAwaited,
  /**
   * The question or signal cannot be answered.
   *
   * @since 0.1.0
   * @category errors
   */
  NotOpen,
  /**
   * The value does not fit the schema of the signal.
   *
   * @since 0.1.0
   * @category errors
   */
  ValueRefused
} from "./internal/wait/resolve.js"
