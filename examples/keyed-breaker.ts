/** A breaker for each host: a host that is down does not block the others. */
import { Data, Effect, Either } from "effect"
import { CircuitBreaker, Fault } from "effect-recovery"

class HostDown extends Data.TaggedError("HostDown")<{ readonly host: string }> {
  readonly [Fault.declared] = Fault.declare({ category: "network" })
}

const get = (url: URL): Effect.Effect<string, HostDown> =>
  url.host === "down.example" ? Effect.fail(new HostDown({ host: url.host })) : Effect.succeed(`text of ${url.host}`)

export const program = Effect.gen(function* () {
  const hosts = yield* CircuitBreaker.keyed({
    name: "hosts",
    trip: CircuitBreaker.consecutive({ failures: 2 }),
    maxKeys: 1_000
  })
  const guarded = (address: string) => {
    const url = new URL(address)
    return get(url).pipe(CircuitBreaker.protectKey(hosts, url.host), Effect.either)
  }

  const results: Array<string> = []
  for (const host of ["down", "up", "down", "down", "up"]) {
    const result = yield* guarded(`https://${host}.example/`)
    results.push(Either.isLeft(result) ? result.left._tag : result.right)
  }
  const states = [...(yield* hosts.snapshot)].map(([host, { state }]) => `${host} ${state}`)
  return { results, states }
})
