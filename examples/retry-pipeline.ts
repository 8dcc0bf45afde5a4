/**
 * A pipeline of three stages that says nothing about retries but that it wants
 * them. How often, how long and for what is up to the layers it runs with:
 * here those of production, in a test `RetryPolicy.layer(RetryPolicy.none)`.
 */
import { Context, Data, Effect, Layer } from "effect"
import { Fault, Recovery, RetryPolicy } from "effect-recovery"

class SourceDown extends Data.TaggedError("SourceDown")<{ readonly attempt: number }> {}
class LedgerBusy extends Data.TaggedError("LedgerBusy")<{}> {}

export class Source extends Context.Tag("Source")<Source, { readonly read: Effect.Effect<string, SourceDown> }>() {}
export class Ledger extends Context.Tag("Ledger")<
  Ledger,
  { readonly write: (line: string) => Effect.Effect<void, LedgerBusy> }
>() {}

export const pipeline = Effect.gen(function* () {
  const source = yield* Source
  const ledger = yield* Ledger
  const text = yield* Recovery.retry(source.read)
  const line = text.trim().toUpperCase()
  yield* Recovery.retry(ledger.write(line))
  return line
})

const SourceLive = Layer.sync(Source, () => {
  let attempt = 0
  return {
    read: Effect.suspend(() => (++attempt < 3 ? Effect.fail(new SourceDown({ attempt })) : Effect.succeed(" text ")))
  }
})

const LedgerLive = Layer.sync(Ledger, () => {
  let busy = true
  return {
    write: () =>
      Effect.suspend(() => {
        const error = busy ? Effect.fail(new LedgerBusy()) : Effect.void
        busy = false
        return error
      })
  }
})

const Production = Layer.mergeAll(
  // What the errors of others are.
  Fault.layer(Fault.tag("SourceDown", { category: "network" }), Fault.tag("LedgerBusy", { category: "conflict" })),
  // And what to do about each kind.
  RetryPolicy.layer(
    RetryPolicy.byCategory({
      network: RetryPolicy.fixed({ maxRetries: 5, delay: "20 millis" }),
      conflict: RetryPolicy.exponential({ initialDelay: "5 millis", jitter: "full" })
    })
  )
)

export const program = pipeline.pipe(Effect.provide([SourceLive, LedgerLive, Production]))
