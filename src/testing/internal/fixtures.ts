import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import type { YieldWrap } from "effect/Utils"
import type * as Storage from "../../storage/Storage.js"

/** Checks of a store by name, as bodies of `Effect.gen`. A check dies of a failed assertion. */
export type Contract = Readonly<
  Record<string, (store: Storage.Store) => Generator<YieldWrap<Effect.Effect<unknown, unknown>>, void, never>>
>

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
  if ("lease" in result) return result.lease
  throw new Error(`expected a lease, got ${result._tag}`)
}

/** The ids of rows, in their order. */
export const ids = (rows: ReadonlyArray<{ readonly id: string }>) => rows.map(({ id }) => id)

/** The write must fail because the lease is lost. */
export const loses = <A>(write: Effect.Effect<A, { readonly _tag: string }>) =>
  Effect.map(Effect.flip(write), ({ _tag }) => assert.strictEqual(_tag, "LeaseLost"))

export const open = (store: Storage.Store, id: string, owner: string, more?: Partial<Storage.OpenRequest>) =>
  store.open(request(id, more), owner, 30_000)

/** Opens a run and records its outcome. Returns the lease that it had. */
export const finished = (
  store: Storage.Store,
  id: string,
  more?: Partial<Storage.OpenRequest>,
  status: Storage.Outcome["status"] = "completed"
) =>
  Effect.flatMap(Effect.map(open(store, id, "a", more), opened), (lease) =>
    Effect.as(store.finish(lease, { status, exit: "" }), lease)
  )
