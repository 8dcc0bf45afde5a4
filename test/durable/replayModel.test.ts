import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { isRepeated, lengthOf, seedOf } from "../support/campaigns.js"
import { inEveryStorage } from "../support/everyStorage.js"
import { awaited } from "../support/simulation.js"
import type { Backend } from "../support/storages.js"
import { directed, stopped } from "./replayModel/directed.js"
import { type Found, hunt, report, type StoreFor, stopEverywhere, tryOne } from "./replayModel/hunt.js"
import { isPromised } from "./replayModel/program.js"

const runs = lengthOf("REPLAY_RUNS")
const seed = seedOf(4)
const directedRuns = lengthOf("REPLAY_DIRECTED")

const [promises, endings] = isRepeated("REPLAY_DIRECTED")
  ? [[], []]
  : [Object.entries(directed), Object.entries(stopped)]

/** Each simulation has a run of its own in one store. */
const onStore = (backend: Backend, search: (storeFor: StoreFor) => Promise<Found | undefined>) => async () => {
  let programs = 0
  const found = await Effect.runPromise(
    Effect.scoped(
      Effect.flatMap(backend.make, ({ store }) =>
        Effect.promise(() => search(() => [awaited(store), `program-${++programs}`]))
      )
    )
  )
  if (found !== undefined) assert.fail(report(found))
  assert.isAbove(programs, 0)
}

inEveryStorage("wherever a run crashes, is interrupted or leaves its worker,", (backend, share) => {
  for (const [promise, body] of share < 1 / 3 ? promises.slice(0, directedRuns) : promises) {
    it(
      promise,
      onStore(backend, (storeFor) => stopEverywhere(body, storeFor))
    )
  }

  for (const [promise, one] of endings) {
    it(
      promise,
      onStore(backend, (storeFor) => tryOne(one, storeFor))
    )
  }

  it(
    `random programs end as they do undisturbed (seed ${seed})`,
    onStore(backend, (storeFor) =>
      hunt({
        runs: Math.ceil(runs * share),
        seed,
        storeFor,
        accepts: ({ body }) => isPromised(body)
      })
    )
  )
})
