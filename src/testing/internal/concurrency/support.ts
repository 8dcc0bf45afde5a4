import * as assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import type * as Storage from "../../../storage/Storage.js"
import { find, request } from "../fixtures.js"

/** Runs effects at the same time, each in its own fiber, and waits for all of them. */
export const together = <A, E, R>(
  effects: ReadonlyArray<Effect.Effect<A, E, R>>
): Effect.Effect<ReadonlyArray<A>, E, R> => Effect.all(effects, { concurrency: "unbounded" })

/** Makes an effect of each item and runs them at the same time. */
export const eachAtOnce = <I, A, E, R>(
  items: ReadonlyArray<I>,
  run: (item: I, index: number) => Effect.Effect<A, E, R>
): Effect.Effect<ReadonlyArray<A>, E, R> => together(items.map(run))

export const range = (length: number): ReadonlyArray<number> => Array.from({ length }, (_, i) => i)

/** In another order: callers that touch many rows must not wait for each other in a circle. */
export const reversed = <A>(items: ReadonlyArray<A>): ReadonlyArray<A> => [...items].reverse()

/**
 * Waits as long as the store needs for this many reads. No clock bounds the wait: on a slow store or machine,
 * the write that another fiber has begun is slow as well.
 */
export const pace = (store: Storage.Store, reads: number): Effect.Effect<void, Storage.StorageError> =>
  Effect.forEach(range(reads), () => store.find("no-such-run"), { discard: true })

/** Begins after this many reads: operations take different numbers of statements, and each is to meet each of another. */
export const after = <A, E, R>(
  store: Storage.Store,
  reads: number,
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E | Storage.StorageError, R> => Effect.zipRight(pace(store, reads), self)

/** Whether the lease was still in force when the write happened. */
export const isKept = <A, E extends { readonly _tag: string }, R>(
  write: Effect.Effect<A, E | Storage.LeaseLost, R>
): Effect.Effect<boolean, Exclude<E, Storage.LeaseLost>, R> =>
  Effect.matchEffect(write, {
    onSuccess: () => Effect.succeed(true),
    onFailure: (error): Effect.Effect<boolean, Exclude<E, Storage.LeaseLost>> =>
      // The tag tells which member of the union it is.
      error._tag === "LeaseLost" ? Effect.succeed(false) : Effect.fail(error as Exclude<E, Storage.LeaseLost>)
  })

/** Opens runs at the same time, all for one owner, and returns their leases. */
export const openAll = (
  store: Storage.Store,
  names: ReadonlyArray<string>,
  owner: string
): Effect.Effect<ReadonlyArray<Storage.Lease>, Storage.StorageError> =>
  eachAtOnce(names, (id) =>
    Effect.map(store.open(request(id), owner, 30_000), (opened) => {
      if ("lease" in opened) return opened.lease
      throw new Error(`expected a lease on "${id}", got ${opened._tag}`)
    })
  )

/** Claims until nothing is due any more, a few runs at a time. */
export const claimAll = (
  store: Storage.Store,
  owner: string,
  limit: number
): Effect.Effect<ReadonlyArray<Storage.Lease>, Storage.StorageError> =>
  Effect.gen(function* () {
    const claimed: Array<Storage.Lease> = []
    for (;;) {
      const leases = yield* claimSome(store, owner, limit)
      if (leases.length === 0) return claimed
      claimed.push(...leases)
    }
  })

export const claimSome = (
  store: Storage.Store,
  owner: string,
  limit: number
): Effect.Effect<ReadonlyArray<Storage.Lease>, Storage.StorageError> =>
  Effect.map(store.claimDue({ workflows: [{ workflow: "checkout", version: "1" }], limit }, owner, 30_000), (due) =>
    due.flatMap((one) => (one._tag === "Claimed" ? [one.lease] : []))
  )

export const runNames = (count: number): ReadonlyArray<string> => range(count).map((i) => `run-${i}`)

/** Each run has at most one of these leases, and it is the one that the run itself has. */
export const areTheirOwn = (store: Storage.Store, leases: ReadonlyArray<Storage.Lease>) =>
  Effect.gen(function* () {
    assert.strictEqual(new Set(leases.map(({ run }) => run)).size, leases.length, "Two callers got one run.")
    for (const { key, owner, run, token } of leases) {
      const found = yield* find(store, run)
      assert.deepStrictEqual([found.key, found.owner, found.token], [key, owner, token])
    }
  })
