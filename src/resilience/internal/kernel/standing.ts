import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** A reference that a layer provides. It has a default, so a layer that does not see it is built in silence. */
interface Provided {
  readonly layer: string
  readonly key: string
}

/** A layer that uses such references, with what it saw. */
interface User {
  readonly layer: string
  readonly context: Context.Context<never>
}

interface Build {
  readonly provided: Array<Provided>
  readonly users: Array<User>
}

/** By the map that layers of one build share. */
const builds = new WeakMap<Layer.MemoMap, Build>()

const build: Effect.Effect<Build> = Effect.map(Layer.CurrentMemoMap, (memoMap) => {
  const known = builds.get(memoMap) ?? { provided: [], users: [] }
  builds.set(memoMap, known)
  return known
})

const warning = (provided: Provided, user: User) =>
  Effect.logWarning(
    `${provided.layer} stands beside ${user.layer}, which does not see it: runs of the worker go without it. Put it below, ${user.layer}(…).pipe(Layer.provideMerge(${provided.layer})), or build all with Production.layer of effect-recovery/operate.`
  )

const isMissed = (provided: Provided, user: User) => !user.context.unsafeMap.has(provided.key)

/** Called while a layer is built that provides a reference: warns of a user of the same build that did not see it. */
export const providing = (layer: string, { key }: { readonly key: string }): Effect.Effect<void> =>
  Effect.flatMap(build, ({ provided, users }) => {
    const one: Provided = { layer, key }
    provided.push(one)
    return Effect.forEach(
      users.filter((user) => isMissed(one, user)),
      (user) => warning(one, user),
      { discard: true }
    )
  })

/** Called while a layer is built that uses references: warns of those of the same build that it does not see. */
export const using = (layer: string): Effect.Effect<void> =>
  Effect.flatMap(Effect.zip(build, Effect.context<never>()), ([{ provided, users }, context]) => {
    const user: User = { layer, context }
    users.push(user)
    return Effect.forEach(
      provided.filter((one) => isMissed(one, user)),
      (one) => warning(one, user),
      { discard: true }
    )
  })
