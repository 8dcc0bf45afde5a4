import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { Recovery, type Storage } from "effect-recovery"
import { RecoveryManager } from "effect-recovery/operate"
import { describe, expectTypeOf, it } from "vitest"

class Mirror extends Context.Tag("Mirror")<Mirror, { readonly url: string }>() {}

describe("types of fields", () => {
  it("an action that is written down needs what it says, and nothing else", () => {
    const plain: RecoveryManager.Action = () => Effect.void
    const mirrored: RecoveryManager.Action<Mirror> = () => Effect.asVoid(Mirror)
    expectTypeOf(RecoveryManager.layer({ actions: { retry: plain } })).toExtend<
      Layer.Layer<RecoveryManager.RecoveryManager, unknown, Storage.Storage>
    >()
    expectTypeOf(RecoveryManager.layer({ actions: { retry: plain, resume: mirrored } })).toExtend<
      Layer.Layer<RecoveryManager.RecoveryManager, unknown, Storage.Storage | Mirror>
    >()
    // @ts-expect-error an action that needs nothing does not use a service
    const needy: RecoveryManager.Action = () => Effect.asVoid(Mirror)
    expectTypeOf(needy).toBeFunction()
  })

  it("a recoverable call is a field by the options that decide about its errors", () => {
    interface Shop {
      readonly call: Recovery.Recoverable<{ name: string; timeout: Duration.DurationInput }>
    }
    const shop: Effect.Effect<Shop> = Effect.map(
      Recovery.recoverable({ name: "shop", timeout: "1 second" }),
      (call) => ({ call })
    )
    expectTypeOf(shop).toExtend<Effect.Effect<Shop>>()
  })
})
