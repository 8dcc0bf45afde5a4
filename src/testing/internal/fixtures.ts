import type * as Effect from "effect/Effect"
import type * as Storage from "../../storage/Storage.js"

/** One check: fails with whatever it finds. */
export type Check = (store: Storage.Store) => Effect.Effect<void, unknown>

export const request = (id: string, more?: Partial<Storage.OpenRequest>): Storage.OpenRequest => ({
  id,
  workflow: "checkout",
  version: "1",
  input: `{"amount":1}`,
  labels: { repository: "shop", commit: "abc" },
  ...more
})

export const entry = (seq: number, more?: Partial<Storage.Entry>): Storage.Entry => ({
  seq,
  kind: "StepCompleted",
  step: "charge",
  attempt: 1,
  at: 1_000 + seq,
  payload: `{"n":${seq}}`,
  ...more
})

export const opened = (result: Storage.Opened): Storage.Lease => {
  if (result._tag === "Created" || result._tag === "Claimed") return result.lease
  throw new Error(`expected a lease, got ${result._tag}`)
}

export const open = (store: Storage.Store, id: string, owner: string, more?: Partial<Storage.OpenRequest>) =>
  store.open(request(id, more), owner, 30_000)
