import * as Effect from "effect/Effect"
import { backends } from "../support/storages.js"
import { storageContract } from "./contract.js"

for (const backend of backends) {
  storageContract(
    backend.name,
    Effect.map(backend.make, ({ store }) => store)
  )
}
