import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { Storage } from "effect-recovery"
import { lease, request } from "../support/runs.js"
import { eventually, turns } from "../support/time.js"

const listening = (store: Storage.Store, options: Partial<Storage.Options> = {}) =>
  Effect.gen(function* () {
    const storage = yield* Storage.make(store, { owner: "listener", ...options })
    const heard: Array<string> = []
    storage.onChange(({ run }) => heard.push(run))
    yield* turns(5)
    return heard
  })

const hears = (heard: ReadonlyArray<string>, run: string) =>
  eventually(
    Effect.sync(() => heard.includes(run)),
    (found) => found
  )

describe("Storage.onChange", () => {
  it.scopedLive("hears what another service signals, suspends, releases and finishes on the same store", () =>
    Effect.gen(function* () {
      const store = Storage.memoryStore()
      const heard = yield* listening(store)
      const [a, b, c] = [
        yield* lease(store, request("suspended"), "a"),
        yield* lease(store, request("released"), "b"),
        yield* lease(store, request("finished"), "c")
      ]
      yield* lease(store, request("signalled"), "d")
      yield* turns(5)
      assert.deepStrictEqual(heard, [])
      yield* store.suspend(a, { dueAt: 0, signals: 0 })
      yield* store.release(b.owner, b.run)
      yield* store.finish(c, { status: "completed", exit: "" })
      yield* store.signal("signalled", "go", "1")
      for (const run of ["suspended", "released", "finished", "signalled"]) yield* hears(heard, run)
    })
  )

  it.scopedLive("is notified by the store as by this process, until the service's scope closes", () =>
    Effect.gen(function* () {
      const store = Storage.memoryStore()
      const heard = yield* Effect.scoped(
        Effect.gen(function* () {
          const heard = yield* listening({
            ...store,
            changes: Stream.make({ run: "far", isDue: true }, { run: "away", isDue: false })
          })
          yield* hears(heard, "away")
          return heard
        })
      )
      assert.deepStrictEqual(heard, ["far", "away"])
    })
  )

  it.scopedLive("outlives a stream of changes that dies", () =>
    Effect.gen(function* () {
      const store = Storage.memoryStore()
      const storage = yield* Storage.make({ ...store, changes: Stream.dieMessage("broken") }, { owner: "a" })
      const heard: Array<string> = []
      storage.onChange(({ run }) => heard.push(run))
      yield* turns(5)
      yield* lease(store, request("run"), "a")
      yield* storage.signal("run", "go", "1")
      assert.deepStrictEqual(heard, ["run"])
    })
  )

  it.scopedLive("does not ask a store that it has for itself", () =>
    Effect.gen(function* () {
      let subscriptions = 0
      const changes = Stream.unwrap(
        Effect.sync(() => {
          subscriptions++
          return Stream.never
        })
      )
      const store = { ...Storage.memoryStore(), changes }
      yield* listening(store, { isPrivate: true })
      assert.strictEqual(subscriptions, 0)
      yield* listening(store)
      assert.strictEqual(subscriptions, 1)
    })
  )

  it.scopedLive("a service in memory hears each of its changes once", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(Storage.layerMemory)
      const storage = yield* Effect.provide(Storage.Storage, context)
      const heard: Array<string> = []
      storage.onChange(({ run }) => heard.push(run))
      yield* Effect.uninterruptibleMask((restore) => storage.open(request("run"), restore))
      yield* storage.signal("run", "go", "1")
      yield* turns(5)
      assert.deepStrictEqual(heard, ["run"])
    })
  )
})
