import * as Effect from "effect/Effect"
import type { RunStore } from "../Store.js"

const missing = Effect.dieMessage("not there yet")

export const notYet: Pick<
  RunStore,
  "enqueue" | "hold" | "releaseHold" | "cancel" | "terminate" | "controls" | "continueAs" | "adopt" | "queues"
> = {
  enqueue: () => missing,
  hold: () => missing,
  releaseHold: () => missing,
  cancel: () => missing,
  terminate: () => missing,
  controls: () => missing,
  continueAs: () => missing,
  adopt: () => missing,
  queues: missing
}

export const noControl = {
  startedAt: undefined,
  generation: 1,
  hold: undefined,
  cancel: undefined,
  queue: undefined,
  parent: undefined
}
