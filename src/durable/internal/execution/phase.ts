import type { RunError } from "../../../journal/RunError.js"
import type { Branch } from "./fiberTree.js"

/**
 * How far one execution of a run is. A new execution is `Running`.
 *
 * | from        | `Interrupt`              | `Cancel`   | `Rewind`                 | `Stop`    | `Supersede`  |
 * | ----------- | ------------------------ | ---------- | ------------------------ | --------- | ------------ |
 * | Running     | Interrupted              | Cancelling | Rewinding                | Stopped   | illegal      |
 * | Interrupted | –                        | –          | Rewinding, isInterrupted | Stopped   | illegal      |
 * | Cancelling  | –                        | –          | Rewinding                | Stopped   | illegal      |
 * | Rewinding   | Rewinding, isInterrupted | –          | –                        | Stopped   | Superseded,  |
 * |             |                          |            |                          |           | illegal if isInterrupted |
 * | Stopped     | –                        | –          | –                        | –         | illegal      |
 * | Superseded  | –                        | –          | –                        | –         | –            |
 *
 * A dash keeps the phase: the first error stays the reason of a stop. The request to
 * cancel outlives the phase: the next pass, or the next execution, finds it again.
 */
export type Phase =
  | { readonly _tag: "Running" }
  /** The caller interrupted the execution; finalizers and rollbacks still run. */
  | { readonly _tag: "Interrupted" }
  /** The run is to be cancelled: its transactions are rolled back, and its outcome is that it was cancelled. */
  | { readonly _tag: "Cancelling" }
  /** A rewind is recorded; the body ends without an outcome. */
  | { readonly _tag: "Rewinding"; readonly isInterrupted: boolean }
  /** The body must end; `error` is the result of the execution. */
  | { readonly _tag: "Stopped"; readonly error: RunError }
  /** The rewind is done and the body runs again; fibers of this pass cannot write any more. */
  | { readonly _tag: "Superseded" }

export type PhaseEvent =
  | { readonly _tag: "Interrupt" }
  | { readonly _tag: "Cancel" }
  | { readonly _tag: "Rewind" }
  | { readonly _tag: "Stop"; readonly error: RunError }
  | { readonly _tag: "Supersede" }

export const running: Phase = { _tag: "Running" }

const isInterrupted = (phase: Phase): boolean =>
  phase._tag === "Interrupted" || (phase._tag === "Rewinding" && phase.isInterrupted)

/** The phase after an event. Throws on an illegal transition, which is a bug of this library. */
export const nextPhase = (phase: Phase, event: PhaseEvent): Phase => {
  if (event._tag === "Supersede") {
    if (phase._tag === "Superseded" || (phase._tag === "Rewinding" && !phase.isInterrupted))
      return { _tag: "Superseded" }
    throw new Error(`an execution that is ${phase._tag} cannot be superseded: only a rewind starts another pass`)
  }
  if (phase._tag === "Stopped" || phase._tag === "Superseded") return phase
  switch (event._tag) {
    case "Stop":
      return { _tag: "Stopped", error: event.error }
    case "Rewind":
      return phase._tag === "Rewinding" ? phase : { _tag: "Rewinding", isInterrupted: isInterrupted(phase) }
    case "Cancel":
      return phase._tag === "Running" ? { _tag: "Cancelling" } : phase
    case "Interrupt":
      if (phase._tag === "Cancelling") return phase
      return phase._tag === "Rewinding" ? { _tag: "Rewinding", isInterrupted: true } : { _tag: "Interrupted" }
  }
}

/** The phase of one execution. `transition` is the only writer. */
export class Lifecycle {
  #phase: Phase = running
  /** Interrupts the body's fiber. A no-op until the body runs. */
  interruptBody: () => void = () => {}
  /** The step that died of a defect, until the program evidently handles it. */
  died: { readonly step: string; readonly in: Branch | undefined } | undefined
  /** The body itself has returned or failed. What cancels the run later comes too late. */
  hasEnded = false

  get phase(): Phase {
    return this.#phase
  }

  /** A stop also interrupts the body: a race inside it would outlive the branch that stopped. */
  transition(event: PhaseEvent): void {
    this.#phase = nextPhase(this.#phase, event)
    if (event._tag === "Stop" || (event._tag === "Cancel" && this.isCancelling)) this.interruptBody()
  }

  /** Why the run stopped, if it did. */
  get stopError(): RunError | undefined {
    return this.#phase._tag === "Stopped" ? this.#phase.error : undefined
  }

  /** The body is ending for a reason that is not the program's own failure. */
  get isEnding(): boolean {
    return this.#phase._tag !== "Running" && this.#phase._tag !== "Interrupted" && !this.isCancelling
  }

  /** The run is being cancelled. */
  get isCancelling(): boolean {
    return this.#phase._tag === "Cancelling"
  }

  /** The body was interrupted from outside: its finalizers and rollbacks run, and nothing else begins. */
  get isClosing(): boolean {
    return this.isInterrupted || this.isCancelling
  }

  /** The caller interrupted the execution, and it has not stopped for another reason. */
  get isInterrupted(): boolean {
    return isInterrupted(this.#phase)
  }
}
