import { describe, expectTypeOf, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { Queue, type RunSchedule, Storage, type Worker, Workflow } from "effect-recovery"
import { type Escalation, type Insights, Production, type RecoveryManager } from "effect-recovery/operate"

class Mailer extends Context.Tag("Mailer")<Mailer, { readonly send: Effect.Effect<void> }>() {}
class Smtp extends Context.Tag("Smtp")<Smtp, string>() {}
class Page extends Context.Tag("Page")<Page, string>() {}

declare const storage: Layer.Layer<Storage.Storage, "cannot open", "client">
declare const mailer: Layer.Layer<Mailer, "no mail", Smtp | Storage.Storage>
declare const workers: Layer.Layer<Worker.Worker, "no cluster", "sharding" | Storage.Storage>
declare const schedule: RunSchedule.RunSchedule<Smtp>
declare const page: Layer.Layer<Page, "no port", RecoveryManager.RecoveryManager | Insights.Insights | "server">

const Remind = Workflow.make("remind", {}, () => Effect.flatMap(Mailer, ({ send }) => send))

type Operating = Insights.Insights | RecoveryManager.RecoveryManager | Worker.Worker | Escalation.Escalation

// Only the types are checked: the values do not exist.
const typed = (_check: () => void) => {}

describe("the types of Production.layer", () => {
  it("require the services of the workflows unless the options provide them", () => {
    typed(() => {
      const without = Production.layer({ storage: Storage.layerMemory, workflows: [Remind] })
      expectTypeOf(without).toEqualTypeOf<Layer.Layer<Storage.Storage | Operating, Worker.Duplicate, Mailer>>()
      const whole = Production.layer({ storage, workflows: [Remind], layer: mailer, dashboard: page })
      expectTypeOf(whole).toEqualTypeOf<
        Layer.Layer<
          Storage.Storage | Mailer | Page | Operating,
          "cannot open" | "no mail" | "no port" | Worker.Duplicate,
          "client" | Smtp | "server"
        >
      >()
    })
  })

  it("leave out what the options leave out", () => {
    typed(() => {
      const reading = Production.layer({
        storage: Storage.layerMemory,
        workflows: [],
        worker: false,
        escalation: false
      })
      expectTypeOf(reading).toEqualTypeOf<
        Layer.Layer<Storage.Storage | Insights.Insights | RecoveryManager.RecoveryManager>
      >()
    })
  })

  it("take queues and schedules of the worker, and require what the schedules' inputs need", () => {
    typed(() => {
      const nightly = Production.layer({
        storage: Storage.layerMemory,
        workflows: [],
        worker: { queues: [Queue.make("mail", { concurrency: 2 })], schedules: [schedule] },
        escalation: false
      })
      expectTypeOf<Layer.Layer.Context<typeof nightly>>().toEqualTypeOf<Smtp>()
    })
  })

  it("take another layer of the worker, with its errors and what it needs beyond the storage", () => {
    typed(() => {
      const placed = Production.layer({
        storage: Storage.layerMemory,
        workflows: [],
        worker: workers,
        escalation: false
      })
      expectTypeOf(placed).toEqualTypeOf<
        Layer.Layer<
          Storage.Storage | Insights.Insights | RecoveryManager.RecoveryManager | Worker.Worker,
          Worker.Duplicate | "no cluster",
          "sharding"
        >
      >()
    })
  })

  it("refuse a storage that is none, and options that a worker does not have", () => {
    typed(() => {
      // @ts-expect-error it provides no Storage
      Production.layer({ storage: mailer, workflows: [Remind] })
      // @ts-expect-error the option is called concurrency
      Production.layer({ storage: Storage.layerMemory, workflows: [Remind], worker: { parallel: 3 } })
    })
  })
})
