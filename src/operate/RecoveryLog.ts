/**
 * A log of recoveries and failed runs, as flat entries for other programs.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Struct from "effect/Struct"
import * as Events from "../resilience/Events.js"
import * as Fault from "../resilience/Fault.js"
import { logged } from "../resilience/internal/kernel/logged.js"
import { hasFailed } from "../storage/rows.js"

/**
 * One entry of the log. All its values are JSON.
 *
 * @since 0.1.0
 * @category models
 */
export interface Entry {
  readonly timestamp: string
  readonly event: "recovery" | "run_failed"
  readonly success: boolean
  /** The last strategy that was tried; null if none was. */
  readonly strategy: string | null
  readonly outcome: Events.Outcome
  readonly run: string | null
  readonly workflow: string | null
  readonly step: string | null
  readonly recovery: string | null
  readonly error_type: string | null
  readonly error_message: string
  readonly category: string
  readonly severity: Fault.Severity
  readonly fingerprint: string
  readonly attempts: number
  /** Milliseconds since the first failure of the recovery; 0 for a failed run. */
  readonly elapsed_ms: number
}

/**
 * Passes each entry to `write`, such as `JsonLog.make(path).append` of
 * `effect-recovery/files`. If `write` fails, the entry is lost and a warning is
 * logged; the program is not affected.
 *
 * @example
 * ```ts
 * import { Recovery, Strategy } from "effect-recovery"
 * import { RecoveryLog } from "effect-recovery/operate"
 * import { Console, Data, Effect } from "effect"
 *
 * class Offline extends Data.TaggedError("Offline")<{}> {}
 *
 * const program = Effect.fail(new Offline()).pipe(
 *   Recovery.recover({ Offline: Strategy.skip() }, { name: "search" }),
 *   Effect.provide(RecoveryLog.layer(({ recovery, strategy }) => Console.log(recovery, strategy)))
 * )
 * Effect.runPromise(program) // search skip
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (write: (entry: Entry) => Effect.Effect<unknown, unknown>): Layer.Layer<never> =>
  Events.layer((event) =>
    logged(
      Effect.flatMap(Effect.transposeOption(entryOf(event)), Effect.transposeMapOption(write)),
      "an entry of the recovery log could not be written"
    )
  )

const entryOf = (event: Events.Event): Option.Option<Effect.Effect<Entry>> => {
  if (event._tag === "RecoveryEnded") return Option.some(recoveryEntry(event))
  return event._tag === "RunFinished" && hasFailed(event.outcome) ? Option.some(runEntry(event)) : Option.none()
}

type Of<T extends Events.Event["_tag"]> = Extract<Events.Event, { readonly _tag: T }>

const recoveryEntry = ({ attempts, decisions, elapsed, fault, outcome, source }: Of<"RecoveryEnded">) =>
  Effect.map(
    Clock.currentTimeMillis,
    (now): Entry => ({
      ...commonFields("recovery", now, fault, source),
      success: outcome === "recovered",
      outcome,
      strategy: decisions.findLast(({ decision }) => decision !== "GiveUp")?.strategy ?? null,
      attempts,
      elapsed_ms: Duration.toMillis(elapsed),
      workflow: null
    })
  )

const runEntry = ({ cause, outcome, source, workflow }: Of<"RunFinished">) =>
  Effect.zipWith(
    Clock.currentTimeMillis,
    Fault.classify(Option.getOrElse(cause, () => "The run failed without a cause")),
    (now, fault): Entry => ({
      ...commonFields("run_failed", now, fault, source),
      success: false,
      outcome: outcome === "exhausted" ? "exhausted" : "failed",
      strategy: null,
      attempts: 1,
      elapsed_ms: 0,
      workflow
    })
  )

const commonFields = (event: Entry["event"], now: number, fault: Fault.Fault, source: Events.Source) => ({
  timestamp: new Date(now).toISOString(),
  event,
  run: source.run ?? null,
  step: source.step ?? null,
  recovery: source.recovery ?? null,
  error_type: Option.getOrNull(fault.tag),
  error_message: fault.message,
  ...Struct.pick(fault, "category", "severity", "fingerprint")
})
