import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Tracer from "effect/Tracer"

const untraced = Context.get(DefaultServices.liveServices, Tracer.Tracer)

/** Somebody traces: inside another span, or with a tracer of their own. */
export const isTraced = (fiber: Fiber.RuntimeFiber<unknown, unknown>): boolean =>
  fiber.currentSpan !== undefined || fiber.currentTracer !== untraced

/** A span for those who trace. Nobody else would see it, and it costs as much as a step. */
export const traced = <A, E, R>(
  name: string,
  attributes: () => Record<string, unknown>,
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) => (isTraced(fiber) ? withSpan(name, attributes(), self) : self))

export const withSpan = <A, E, R>(
  name: string,
  attributes: Record<string, unknown>,
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  // A span adds nothing but itself to the context.
  Effect.withSpan(self, name, { attributes, captureStackTrace: false }) as Effect.Effect<A, E, R>
