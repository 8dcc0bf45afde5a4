import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Workflow from "../../durable/Workflow.js"
import type { Bottleneck, ChainStep, Moment } from "../Chain.js"
import type { Parts } from "./body.js"

export const historyOf = ({ checkpoint }: Parts, run: string) =>
  Effect.flatMap(checkpoint.list({ run, limit: Number.MAX_SAFE_INTEGER }), (newestFirst) =>
    Effect.forEach([...newestFirst].reverse(), ({ at, id, metadata }) =>
      Effect.map(checkpoint.restore(id), ({ state }): Moment<unknown> => {
        const { feedback, iteration, step, text, verdicts } = state
        // Nothing but the chain saves these.
        return { step: step as ChainStep, iteration, text, verdicts, feedback, at, checkpoint: id, metadata }
      })
    )
  )

/** By the times of its steps in the journal. */
export const bottlenecksOf = (
  id: string,
  {
    above = "100 millis",
    limit = 3
  }: { readonly limit?: number | undefined; readonly above?: Duration.DurationInput | undefined } = {}
) =>
  Effect.map(Workflow.status(id), ({ steps }): ReadonlyArray<Bottleneck> => {
    const times = new Map<string, Array<number>>()
    for (const { key, startedAt, status, updatedAt } of steps) {
      if (status !== "completed" && status !== "failed") continue
      const part = decodeURIComponent(key.replace(/^.*\//, "").replace(/#\d+$/, ""))
      times.set(part, [...(times.get(part) ?? []), updatedAt.getTime() - startedAt.getTime()])
    }
    return [...times]
      .map(([part, all]) => ({ part, times: all.length, millis: all.reduce((a, b) => a + b, 0) / all.length }))
      .filter(({ millis }) => millis > Duration.toMillis(above))
      .sort((a, b) => b.millis - a.millis)
      .slice(0, limit)
      .map(({ millis, part, times }) => ({ part, times, average: Duration.millis(millis) }))
  })
