import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Testing } from "effect-recovery/testing"
import { allBackends } from "../support/storages.js"

for (const backend of allBackends) {
  describe(`${backend.name}: the storage contract`, () => {
    const checks = Testing.storageContract(Effect.map(backend.make, ({ store }) => store))
    for (const { check, name } of checks) it.live(name, () => check)
  })
}
