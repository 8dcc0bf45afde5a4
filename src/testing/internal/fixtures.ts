import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { YieldWrap } from "effect/Utils"
import * as Storage from "../../storage/Storage.js"

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

export const snapshot = (more?: Partial<Storage.NewSnapshot>): Storage.NewSnapshot => ({
  run: "run-1",
  step: "",
  seq: 0,
  name: "progress",
  own: undefined,
  kind: "manual",
  version: 1,
  schema: "s",
  digest: "d",
  size: 2,
  encoding: "json",
  labels: { repository: "shop" },
  about: `{"artifacts":[]}`,
  at: 1_000,
  state: "{}",
  ...more
})

export const failure = (id: string, more?: Partial<Storage.RecordWrite>): Storage.RecordWrite => ({
  kind: "failure",
  id,
  subject: "run-1",
  scope: "shop",
  status: "open",
  labels: { repository: "shop" },
  revision: 0,
  body: `{"id":"${id}"}`,
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

export const find = (store: Storage.Store, id: string) => Effect.map(store.find(id), Option.getOrThrow)

/** The ids of the runs that a list shows. */
export const listed = (store: Storage.Store, query: Storage.Query) => Effect.map(store.list(query), ids)

/** Claims due runs of the workflow of `request`, at most 10 of them. Returns their leases. */
export const claimDue = (store: Storage.Store, owner: string, query?: Partial<Storage.DueQuery>) =>
  Effect.map(
    store.claimDue({ workflows: [{ workflow: "checkout", version: "1" }], limit: 10, ...query }, owner, 30_000),
    (due) => due.map(claimed)
  )

const claimed = (due: Storage.DueRun): Storage.Lease => {
  if (due._tag === "Claimed") return due.lease
  throw new Error(`expected a lease, got a damaged run: ${due.run.damaged}`)
}

/** The ids of the runs that `claimDue` claims. */
export const claimedIds = (store: Storage.Store, owner: string, query?: Partial<Storage.DueQuery>) =>
  Effect.map(claimDue(store, owner, query), (leases) => leases.map(({ run }) => run))

/** Records a run without a lease. */
export const enqueued = (store: Storage.Store, id: string, more?: Partial<Storage.EnqueueRequest>) =>
  store.enqueue({ ...request(id), ...more })

/** Opens a run and suspends it, by default until a signal. Returns the lease that it had. */
export const suspended = (
  store: Storage.Store,
  id: string,
  suspension: Partial<Storage.Suspension> = {},
  more?: Partial<Storage.OpenRequest>
) =>
  Effect.flatMap(Effect.map(open(store, id, "a", more), opened), (lease) =>
    Effect.as(store.suspend(lease, { dueAt: Storage.untilSignalled, signals: 0, ...suspension }), lease)
  )

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
