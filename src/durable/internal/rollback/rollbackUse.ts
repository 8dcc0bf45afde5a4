import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { Restore } from "../../../storage/Storage.js"
import { causeOf, isClean, type RollbackResult, rollback } from "../../../transaction/Compensation.js"
import type { UndoFailure } from "../../../transaction/RollbackFailed.js"
import type { TransactionSettings } from "../../../transaction/Transactor.js"
import * as Execution from "../execution/execution.js"
import { acceptDivergence } from "../execution/replayOrder.js"
import { causeCodec, undoCodec } from "../journal/codec.js"
import { forget, type RollbackRecord } from "../journal/journal.js"
import { encodeRewind } from "../journal/lines.js"
import { journaled } from "./journaled.js"

export type AnyEffect = Effect.Effect<unknown, unknown, unknown>

/** Why a transaction is rolled back. After `stopped` the run goes on later, and the transaction begins anew. */
export type Reason = "failed" | "interrupted" | "died" | "stopped"

/** One use of a transaction within a run. */
export interface Use {
  readonly execution: Execution.Execution
  readonly section: string
  readonly options: TransactionSettings
  /** The transaction's body, with the section around it. */
  readonly inside: AnyEffect
  readonly restore: Restore
}

/** For a process that takes over: it fails as this one did. What the workflow cannot write it finds out again. */
export const encodeCause = ({ execution }: Use, cause: Cause.Cause<unknown>): Effect.Effect<string | undefined> =>
  // The workflow's schema needs what the workflow needs, and that is here.
  Effect.orElseSucceed(causeCodec(execution.error).encode(cause), () => undefined) as Effect.Effect<string | undefined>

export const revert = ({ execution, section }: Use) => Effect.sync(() => execution.cells.revert(section))

export const undo = (use: Use, reason: Reason): Effect.Effect<RollbackResult> => {
  const { execution, section } = use
  const source = { run: execution.id, step: section }
  return Execution.emit(execution, () => ({ _tag: "RollbackStarted", source, transaction: section, reason })).pipe(
    Effect.zipRight(revert(use)),
    Effect.zipRight(rollback(execution.rollback.log, { within: section }, journaled(execution))),
    Effect.tap((undone) =>
      Execution.emit(execution, () => ({
        _tag: "RollbackEnded",
        source,
        transaction: section,
        clean: isClean(undone)
      }))
    )
  )
}

/** What the rollback came to, on record before the program sees it. */
export const ended = (use: Use, reason: Reason, cause: Cause.Cause<unknown>, undone: RollbackResult): AnyEffect => {
  if (reason !== "stopped") {
    return Effect.zipRight(recordEnd(use, reason, cause, undone), Effect.failCause(causeOf(use.section, cause, undone)))
  }
  // Not clean: the rest is tried again when the run is executed again.
  return Effect.zipRight(isClean(undone) ? forgetAll(use, reason) : Effect.void, Effect.failCause(cause))
}

export const recordEnd = (
  use: Use,
  reason: Reason,
  cause: Cause.Cause<unknown>,
  undone: RollbackResult
): Effect.Effect<void> => {
  const { execution, section } = use
  return Effect.flatMap(Effect.zip(encodeCause(use, cause), encodeUndone(undone)), ([cause, undone]) =>
    Execution.append(
      execution,
      undone.failures.length === 0 && undone.pivot === null && undone.remaining.length === 0
        ? "RolledBack"
        : "RollbackFailed",
      section,
      0,
      JSON.stringify({ reason, cause, ...undone })
    )
  ).pipe(Effect.tap(() => Effect.sync(() => execution.rollback.ended.add(section))))
}

const encodeUndone = ({ failures, pivot, remaining }: RollbackResult) =>
  Effect.map(
    Effect.forEach(failures, ({ cause, undo }) =>
      // A defect has a form for everything, so this cannot fail.
      Effect.map(Effect.orDie(undoCodec().encode(cause) as Encoded), (cause) => ({ undo, cause }))
    ),
    (failures) => ({ failures, pivot: pivot ?? null, remaining })
  )

type Encoded = Effect.Effect<string | undefined, unknown>

/** Everything was undone: the transaction begins anew, when the run is executed again or at once. */
export const forgetAll = ({ execution, section }: Use, reason: string): Effect.Effect<void> => {
  const rewound = { after: 0, within: section }
  const point = `the start of transaction "${section}"`
  const payload = encodeRewind({ ...rewound, begun: 0, by: section, point, reason })
  const entry = Execution.nextEntry(execution, "Rewound", "", 0, payload)
  return Effect.zipRight(
    Effect.catchAll(execution.storage.rewind(execution.lease, entry, rewound), (error) =>
      Execution.stop(execution, error)
    ),
    Effect.sync(() => {
      execution.rollback.ended.add(section)
      forget(execution.journal, rewound)
      // It may take another way this time, and so may what comes after it.
      acceptDivergence(execution)
      for (const keys of [execution.keys.uses, execution.rollback.log]) {
        for (const key of keys.keys()) if (key.startsWith(section)) keys.delete(key)
      }
      execution.cells.revert(section)
    })
  )
}

/** What a line about a rollback says. */
interface Told {
  readonly cause: Cause.Cause<unknown> | undefined
  readonly undone: RollbackResult
}

export const toldBy = (use: Use, { payload }: RollbackRecord): Effect.Effect<Told> =>
  Effect.gen(function* () {
    const { cause, failures = [], pivot, remaining = [] } = JSON.parse(payload ?? "{}")
    const decoded = typeof cause === "string" ? yield* decodeCause(use, cause) : undefined
    const known: Array<UndoFailure> = []
    for (const { cause, undo } of failures) known.push({ undo, cause: yield* Effect.orDie(decodeUndo(cause)) })
    return { cause: decoded, undone: { failures: known, remaining, pivot: pivot ?? undefined } }
  })

const decodeUndo = (text: string) => undoCodec().decode(text) as Effect.Effect<Cause.Cause<unknown>, unknown>

const decodeCause = ({ execution }: Use, text: string): Effect.Effect<Cause.Cause<unknown> | undefined> =>
  Effect.orElseSucceed(causeCodec(execution.error).decode(text), () => undefined) as Effect.Effect<
    Cause.Cause<unknown> | undefined
  >
