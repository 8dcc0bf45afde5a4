import * as Effect from "effect/Effect"
import type { Storage } from "effect-recovery"

/** A request for a run of the workflow `w`, version 1. */
export const request = (id: string, more: Partial<Storage.OpenRequest> = {}): Storage.OpenRequest => ({
  id,
  workflow: "w",
  version: "1",
  input: "",
  labels: {},
  ...more
})

export const entry = (seq: number): Storage.Entry => ({
  seq,
  kind: "x",
  step: "",
  attempt: 1,
  at: 0,
  payload: undefined
})

/** Opens a run that nothing holds. */
export const lease = (store: Storage.Store, of: Storage.OpenRequest, owner: string, millis = 30_000) =>
  Effect.flatMap(store.open(of, owner, millis), (opened) =>
    "lease" in opened ? Effect.succeed(opened.lease) : Effect.dieMessage(`${of.id}: ${opened._tag}`)
  )

/** A run that is due since `dueAt`. */
export const suspended = (store: Storage.Store, of: Storage.OpenRequest, dueAt: number, signals = 0) =>
  Effect.flatMap(lease(store, of, "suspending"), (held) => store.suspend(held, { dueAt, signals }))

/** What a claim answered about each run. */
export const answers = (found: ReadonlyArray<Storage.DueRun>) => found.map(({ _tag, run }) => `${_tag} ${run.id}`)
