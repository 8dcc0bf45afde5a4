import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Storage from "../../../storage/Storage.js"
import type { Health } from "../../Worker.js"
import type { AnyDefinition } from "../run/advance.js"
import { hasEnded, type Settings, type WorkerState } from "./worker.js"

/** Looks at the storage, not only at itself: a worker that is alive and takes nothing is not well. */
export const healthOf = (
  storage: Storage.Service,
  definitions: ReadonlyArray<AnyDefinition>,
  state: WorkerState,
  { concurrency, stalledMillis, sweepMillis }: Settings
): Effect.Effect<Health, Storage.StorageError> =>
  Effect.gen(function* () {
    const backlog = yield* storage.backlog
    // Somebody else may have brought it to its end.
    for (const run of [...state.stuck.keys()]) {
      if (yield* hasEnded(storage, run)) state.stuck.delete(run)
    }
    const now = yield* Clock.currentTimeMillis
    const isKnown = ({ version, workflow }: Storage.Backlog) =>
      definitions.some((one) => one.name === workflow && one.version === version)
    const known = backlog.filter(isKnown)
    const oldest = Math.min(...known.map((one) => one.oldest ?? now))
    const oldestDue = known.some(({ due }) => due > 0) ? Option.some(Duration.millis(now - oldest)) : Option.none()
    const sweptAt = Option.fromNullable(state.sweptAt)
    const isSweeping = Option.exists(sweptAt, (at) => now - at <= Math.max(stalledMillis, 3 * sweepMillis))
    const isKeepingUp = Option.match(oldestDue, {
      onNone: () => true,
      onSome: (age) => Duration.toMillis(age) < stalledMillis
    })
    return {
      status: state.leaving ? "leaving" : isSweeping && isKeepingUp && state.trouble === undefined ? "ok" : "stalled",
      running: [...state.running].map(([run, { since, workflow }]) => ({ run, workflow, since: new Date(since) })),
      concurrency,
      due: known.reduce((sum, { due }) => sum + due, 0),
      waiting: Math.max(0, known.reduce((sum, { waiting }) => sum + waiting, 0) - state.stuck.size),
      oldestDue,
      stuck: [...state.stuck].map(([run, { at, notBefore, reason, times, workflow }]) => ({
        run,
        workflow,
        reason,
        times,
        since: new Date(at),
        nextAt: new Date(notBefore)
      })),
      unclaimed: backlog
        .filter((one) => !isKnown(one))
        .map(({ due, version, waiting, workflow }) => ({ workflow, version, runs: due + waiting })),
      sweptAt: Option.map(sweptAt, (at) => new Date(at)),
      trouble: Option.fromNullable(state.trouble)
    }
  })
