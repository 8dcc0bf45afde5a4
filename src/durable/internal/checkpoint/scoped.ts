import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { warning } from "../../../resilience/internal/kernel/logged.js"
import { millis } from "../../../resilience/internal/kernel/options.js"
import { longSleep } from "../../../resilience/internal/kernel/timer.js"
import type * as State from "../../State.js"
import { isReplayOnly, runIn } from "../execution/execution.js"
import * as FiberTree from "../execution/fiberTree.js"
import { encode } from "../state/cell.js"
import { CellsTag } from "../state/service.js"

/** Takes a snapshot, and restores it unless the scope closes with success. */
export const scoped = (
  what: Ref.Ref<unknown> | State.ReadOnly<unknown, unknown>,
  schema?: Schema.Schema<unknown, unknown, unknown>
): Effect.Effect<void, never, unknown> =>
  Effect.uninterruptible(
    Effect.flatMap("cell" in what ? restoreCell(what) : restoreRef(what, schema), (restore) =>
      Effect.addFinalizer((exit) => (Exit.isSuccess(exit) ? Effect.void : restore))
    )
  )

/** Restores the cell by an ordinary write, so that the journal shows it. */
const restoreCell = ({ cell }: State.ReadOnly<unknown, unknown>): Effect.Effect<Effect.Effect<void>, never, CellsTag> =>
  Effect.flatMap(Effect.zip(CellsTag, Effect.context<CellsTag>()), ([cells, context]) =>
    Effect.map(cells.history(cell.address, 1), ([before]) => {
      const text = before === undefined ? encode(cell, cell.initial) : Effect.succeed(before.text)
      const restore = Effect.flatMap(text, (text) =>
        Effect.flatMap(cells.history(cell.address, Number.MAX_SAFE_INTEGER), (now) => {
          // The cell was not written since, or a rollback has revoked the write that would be restored.
          const isGone =
            before !== undefined && !now.some((write) => write.text === before.text && write.at === before.at)
          const isSame = now[0]?.text === before?.text && now[0]?.at === before?.at
          return isGone || isSame ? Effect.void : Effect.asVoid(cells.write(cell.address, () => Effect.succeed(text)))
        })
      )
      const unlessEnding = Effect.flatMap(cells.isEnding, (isEnding) => (isEnding ? Effect.void : restore))
      return Effect.provide(unlessEnding, context) as Effect.Effect<void>
    })
  )

const restoreRef = (
  ref: Ref.Ref<unknown>,
  schema: Schema.Schema<unknown, unknown, unknown> | undefined
): Effect.Effect<Effect.Effect<void>, never, unknown> =>
  Effect.flatMap(Ref.get(ref), (value) => {
    if (schema === undefined) return Effect.succeed(Ref.set(ref, value))
    // Encoded and decoded by the same schema, so the copy equals the value and shares nothing with it.
    return Effect.map(
      Effect.zip(Effect.context<unknown>(), Effect.orDie(Schema.encode(schema)(value))),
      ([context, json]) => {
        const text = JSON.stringify(json)
        const read = Effect.orDie(Schema.decodeUnknown(schema)(text === undefined ? undefined : JSON.parse(text)))
        return Effect.provide(
          Effect.flatMap(read, (copy) => Ref.set(ref, copy)),
          context
        ) as Effect.Effect<void>
      }
    )
  })

/**
 * Saves in the background, and once more when the scope closes. Saves by the
 * clock are not deterministic, so they count as saves of a step and are not
 * replayed.
 */
export const saveEvery = <S, E, R, R2>(
  name: string,
  state: Effect.Effect<S, E, R>,
  interval: Duration.DurationInput,
  save: (state: S) => Effect.Effect<unknown, unknown, R2>
): Effect.Effect<void, never, R | R2 | Scope.Scope> => {
  const once = Effect.withFiberRuntime<void, never, R | R2>((fiber) => {
    const run = runIn(fiber.currentContext)
    // An execution that still replays, or that is ending, has nothing new to save.
    if (run !== undefined && isReplayOnly(run.execution, run.section)) return Effect.void
    const leave = FiberTree.enterStep(
      fiber,
      FiberTree.stepOf(fiber) ?? `${run?.section ?? ""}${name} in the background`
    )
    return Effect.flatMap(state, save).pipe(
      Effect.catchAllCause((cause) => warning(`checkpoint "${name}" was not saved`, cause)),
      Effect.asVoid,
      Effect.ensuring(Effect.sync(leave))
    )
  })
  const every = millis("interval", interval, 1)
  // Registered first, so that it runs last: after the background fiber has stopped.
  return Effect.addFinalizer(() => once).pipe(
    Effect.zipRight(Effect.forkScoped(Effect.forever(Effect.zipRight(longSleep(every), once)))),
    Effect.asVoid
  )
}
