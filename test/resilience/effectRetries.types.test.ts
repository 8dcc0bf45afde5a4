import * as HttpClient from "@effect/platform/HttpClient"
import type * as HttpClientError from "@effect/platform/HttpClientError"
import { describe, expectTypeOf, it } from "@effect/vitest"
import type * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as ExecutionPlan from "effect/ExecutionPlan"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { RetryPolicy } from "effect-recovery"

declare const client: HttpClient.HttpClient
declare const layer: Layer.Layer<never, "offline", "service">
declare const stream: Stream.Stream<number, "offline", "service">
declare const effect: Effect.Effect<number, "offline", "service">

// Only the types are checked: the values do not exist.
const typed = (_check: () => void) => {}

describe("retries of Effect with a RetryPolicy", () => {
  const policy = RetryPolicy.exponential()

  it("keep the error type, data first and in a pipe", () => {
    typed(() => {
      type Client = HttpClient.HttpClient.With<HttpClientError.HttpClientError>
      expectTypeOf(HttpClient.retry(client, policy)).toEqualTypeOf<Client>()
      expectTypeOf(client.pipe(HttpClient.retry(policy))).toEqualTypeOf<Client>()
      expectTypeOf(HttpClient.retry(client, RetryPolicy.byCategory())).toEqualTypeOf<Client>()
      expectTypeOf(HttpClient.retry(client, { schedule: policy })).toEqualTypeOf<
        HttpClient.HttpClient.With<HttpClientError.HttpClientError>
      >()

      type Same = Layer.Layer<never, "offline", "service">
      expectTypeOf(Layer.retry(layer, policy)).toEqualTypeOf<Same>()
      expectTypeOf(layer.pipe(Layer.retry(policy))).toEqualTypeOf<Same>()

      expectTypeOf(Stream.retry(stream, policy)).toEqualTypeOf<Stream.Stream<number, "offline", "service">>()
      expectTypeOf(stream.pipe(Stream.retry(policy))).toEqualTypeOf<Stream.Stream<number, "offline", "service">>()

      expectTypeOf(Effect.retry(effect, policy)).toEqualTypeOf<Effect.Effect<number, "offline", "service">>()
      expectTypeOf(effect.pipe(Effect.retry(policy))).toEqualTypeOf<Effect.Effect<number, "offline", "service">>()
      expectTypeOf(Effect.retry(effect, { schedule: policy, times: 3 })).toEqualTypeOf<
        Effect.Effect<number, "offline", "service">
      >()
      expectTypeOf(RetryPolicy.retry(effect, policy)).toEqualTypeOf<Effect.Effect<number, "offline", "service">>()
      const failed = Effect.retryOrElse(effect, policy, (error: "offline") => Effect.fail(error))
      expectTypeOf(failed).toEqualTypeOf<Effect.Effect<number, "offline", "service">>()
      expectTypeOf(Effect.schedule(effect, policy)).toEqualTypeOf<
        Effect.Effect<Duration.Duration, "offline", "service">
      >()
    })
  })

  it("compose with Effect's schedules", () => {
    typed(() => {
      const both = Schedule.intersect(policy, Schedule.recurs(3))
      expectTypeOf(Layer.retry(layer, both)).toEqualTypeOf<Layer.Layer<never, "offline", "service">>()
      expectTypeOf(Effect.retry(effect, Schedule.jittered(policy))).toEqualTypeOf<
        Effect.Effect<number, "offline", "service">
      >()
      const whileOffline = Schedule.whileInput(policy, (failure) => failure === "offline")
      expectTypeOf(Effect.retry(effect, whileOffline)).toEqualTypeOf<Effect.Effect<number, "offline", "service">>()
      const plan = ExecutionPlan.make({ provide: Layer.empty, attempts: 3, schedule: policy })
      const planned = Effect.withExecutionPlan(Effect.fail(new Error("down") as Cause.UnknownException), plan)
      expectTypeOf(planned).toEqualTypeOf<Effect.Effect<never, Cause.UnknownException>>()
    })
  })
})
