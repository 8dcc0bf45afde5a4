import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { backends } from "../support/storages.js"
import { hunt, report } from "./replayModel/hunt.js"
import type { Case } from "./replayModel/program.js"

const runs = lengthOf("REPLAY_RUNS")
const seed = seedOf(20261129)

/** What the promises of this test hold for. */
const isPromised = (one: Case): boolean =>
  !/"_tag":"(Race|Tie|Pause|Meet|Recover|Ensuring|Use)"/.test(JSON.stringify(one.body))

for (const backend of backends) {
  describe(`${backend.name}: random programs that crash, are interrupted and leave their workers`, () => {
    it(`end as they do undisturbed (seed ${seed})`, async () => {
      let programs = 0
      const found = await Effect.runPromise(
        Effect.scoped(
          Effect.flatMap(backend.make, ({ store }) =>
            Effect.promise(() =>
              hunt({
                runs: backend.name === "memory" ? runs : Math.ceil(runs / 3),
                seed,
                storeFor: () => [store, `program-${++programs}`],
                accepts: isPromised
              })
            )
          )
        )
      )
      if (found !== undefined) assert.fail(report(found))
      assert.isAbove(programs, 0)
    })
  })
}
