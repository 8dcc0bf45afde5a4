import { Data, Effect, Stream } from "effect"
import { Events, Fault, Recovery, RetryPolicy, Strategy } from "effect-recovery"

class Offline extends Data.TaggedError("Offline")<{}> {
  readonly [Fault.declared] = Fault.declare({ category: "network" })
}

let attempts = 0
const flaky = Effect.suspend(() => (++attempts < 3 ? Effect.fail(new Offline()) : Effect.succeed("text")))

export const program = Effect.gen(function* () {
  // Everything that happens in the process from here on, for a screen or a log.
  const events = yield* Events.subscribe

  const noted: Array<string> = []
  yield* flaky.pipe(
    Recovery.recover(
      { Offline: Strategy.retry(RetryPolicy.fixed({ delay: "1 millis" })) },
      {
        name: "download",
        // Beside one recovery; if a hook fails, the recovery continues.
        hooks: { onOutcome: ({ attempts, outcome }) => Effect.sync(() => noted.push(`${outcome} after ${attempts}`)) }
      }
    )
  )

  const seen = yield* events.pipe(
    Stream.takeUntil((event) => event._tag === "RecoveryEnded"),
    Stream.map((event) => (event._tag === "Decided" ? `${event.decision} ${event.fault.category}` : event._tag)),
    Stream.runCollect
  )
  return { events: [...seen], noted }
}).pipe(Effect.scoped, Effect.provide(Events.layerHub))
