import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Tracer from "effect/Tracer"

const defaultTracer = Context.get(DefaultServices.liveServices, Tracer.Tracer)

/** Whether the fiber is inside a span or has a tracer other than the default, which exports nothing. */
export const isTraced = (fiber: Fiber.RuntimeFiber<unknown, unknown>): boolean =>
  fiber.currentSpan !== undefined || fiber.currentTracer !== defaultTracer

/** Adds a span if the fiber is traced. An untraced span is invisible and costs as much as a step. */
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
  // A span adds only itself to the context, so R is unchanged.
  Effect.withSpan(self, name, { attributes, captureStackTrace: false }) as Effect.Effect<A, E, R>
