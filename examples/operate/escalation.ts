import { Effect, Layer } from "effect"
import { Storage } from "effect-recovery"
import { Escalation, RecoveryManager } from "effect-recovery/operate"

const told: Array<string> = []

// Any function that takes an escalation passes it on: to a chat, a pager, an issue tracker.
const pager: Escalation.Sink = ({ level, message }) => Effect.sync(() => void told.push(`${level}: ${message}`))

const layer = Escalation.layer({
  rules: [
    Escalation.rule({ threshold: 3, window: "1 hour" }),
    Escalation.rule({
      name: "production",
      group: ({ labels, severity }) => (severity === "critical" ? `production ${labels.repository}` : ""),
      threshold: 1,
      window: "10 minutes",
      cooldown: "30 minutes"
    })
  ],
  sinks: [Escalation.log, pager]
}).pipe(Layer.provideMerge(Storage.layerMemory))

export const program = Effect.gen(function* () {
  const fail = RecoveryManager.report(new Error("disk full"), { labels: { repository: "shop", job: "build" } })
  yield* Effect.repeatN(fail, 2)

  // It looks by itself every minute; this is for now.
  const { check } = yield* Escalation.Escalation
  const [escalation] = yield* check
  yield* Escalation.acknowledge(escalation?.id ?? "", "ada")
  const resolved = yield* Escalation.resolve(escalation?.id ?? "", "ada", "more disks")
  return { told, group: resolved.group, status: resolved.status, again: yield* check }
}).pipe(Effect.provide(layer))
