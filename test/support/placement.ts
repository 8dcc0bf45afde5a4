import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Storage, type Worker, type Workflow } from "effect-recovery"
import type { Placement } from "../../src/durable/internal/worker/placement.js"
import { makeService, settingsOf } from "../../src/durable/internal/worker/service.js"

/** A placement that the test decides. */
export interface Placing {
  readonly placement: Placement
  /** The process owns these shards from now on. */
  readonly own: (...shards: ReadonlyArray<number>) => void
  /** The runs of which the process told others. */
  readonly hints: Array<string>
}

export const makePlacing = (shards: number): Placing => {
  let owned: ReadonlyArray<number> = []
  const listeners = new Set<() => void>()
  const hints: Array<string> = []
  return {
    hints,
    own: (...shards) => {
      owned = shards
      for (const listener of listeners) listener()
    },
    placement: {
      shards,
      owned: () => owned,
      onChange: (listener) => {
        listeners.add(listener)
        return () => void listeners.delete(listener)
      },
      hint: (run) => void hints.push(run)
    }
  }
}

/** A process with a storage of its own over the store, and a worker that claims what its placement says. */
export const placedProcess = (
  store: Storage.Store,
  owner: string,
  workflows: ReadonlyArray<Workflow.Workflow<never, unknown, unknown, never>>,
  { placement }: Placing,
  options: Worker.Options = {}
) =>
  Effect.gen(function* () {
    const storage = yield* Storage.make(store, { owner, lease: "30 seconds" })
    const here = Effect.provideService(Storage.Storage, storage)
    const { service, state } = yield* here(
      makeService("a test", workflows, [], { ...settingsOf(options), placement })
    ) as Effect.Effect<Effect.Effect.Success<ReturnType<typeof makeService>>, never, Scope.Scope> // they need nothing else
    return { storage, here, state, health: service.health }
  })
