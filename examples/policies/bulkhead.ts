import { Effect, Either } from "effect"
import { Bulkhead } from "effect-recovery"

export const program = Effect.gen(function* () {
  const bulkhead = yield* Bulkhead.make({ name: "thumbnails", maxConcurrent: 2, maxQueue: 3 })
  const thumbnail = (n: number) => Effect.as(Effect.sleep("5 millis"), `${n}.png`)

  // Ten at once: two run, three wait for their turn, five are refused.
  const results = yield* Effect.forEach(
    Array.from({ length: 10 }, (_, n) => n),
    (n) => Effect.either(thumbnail(n).pipe(Bulkhead.protect(bulkhead))),
    { concurrency: "unbounded" }
  )
  const refused = results.filter(Either.isLeft).map(({ left }) => left.message)
  return { made: results.length - refused.length, refused: refused.length, why: refused[0] }
})
