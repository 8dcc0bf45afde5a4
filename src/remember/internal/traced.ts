import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import * as Tracer from "effect/Tracer"

const untraced = Context.get(DefaultServices.liveServices, Tracer.Tracer)

/**
 * A span for those who trace: inside another span, or with a tracer of their
 * own. Without either nobody would see it, and it costs as much as a step.
 */
export const traced = <A, E, R>(
  name: string,
  attributes: () => Record<string, unknown>,
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) =>
    fiber.currentSpan === undefined && fiber.currentTracer === untraced
      ? self
      : // A span adds nothing but itself to the context.
        (Effect.withSpan(self, name, { attributes: attributes(), captureStackTrace: false }) as Effect.Effect<A, E, R>)
  )
