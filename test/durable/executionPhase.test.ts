import { assert, describe, it } from "@effect/vitest"
import {
  Lifecycle,
  nextPhase,
  type Phase,
  type PhaseEvent,
  running
} from "../../src/durable/internal/execution/phase.js"
import { StepConflict } from "../../src/journal/RunError.js"

const conflict = (step: string) => new StepConflict({ run: "run-1", step })

const interrupted: Phase = { _tag: "Interrupted" }
const cancelling: Phase = { _tag: "Cancelling" }
const rewinding: Phase = { _tag: "Rewinding", isInterrupted: false }
const rewindInterrupted: Phase = { _tag: "Rewinding", isInterrupted: true }
const stopped: Phase = { _tag: "Stopped", error: conflict("first") }
const superseded: Phase = { _tag: "Superseded" }

const stop: PhaseEvent = { _tag: "Stop", error: conflict("second") }
const stoppedNow: Phase = { _tag: "Stopped", error: stop.error }

/** The phase after each event; undefined where the transition is illegal. */
const table: ReadonlyArray<readonly [from: Phase, to: Record<PhaseEvent["_tag"], Phase | undefined>]> = [
  [running, { Interrupt: interrupted, Cancel: cancelling, Rewind: rewinding, Stop: stoppedNow, Supersede: undefined }],
  [
    interrupted,
    { Interrupt: interrupted, Cancel: interrupted, Rewind: rewindInterrupted, Stop: stoppedNow, Supersede: undefined }
  ],
  [
    cancelling,
    { Interrupt: cancelling, Cancel: cancelling, Rewind: rewinding, Stop: stoppedNow, Supersede: undefined }
  ],
  [
    rewinding,
    { Interrupt: rewindInterrupted, Cancel: rewinding, Rewind: rewinding, Stop: stoppedNow, Supersede: superseded }
  ],
  [
    rewindInterrupted,
    {
      Interrupt: rewindInterrupted,
      Cancel: rewindInterrupted,
      Rewind: rewindInterrupted,
      Stop: stoppedNow,
      Supersede: undefined
    }
  ],
  [stopped, { Interrupt: stopped, Cancel: stopped, Rewind: stopped, Stop: stopped, Supersede: undefined }],
  [
    superseded,
    { Interrupt: superseded, Cancel: superseded, Rewind: superseded, Stop: superseded, Supersede: superseded }
  ]
]

const events: ReadonlyArray<PhaseEvent> = [
  { _tag: "Interrupt" },
  { _tag: "Cancel" },
  { _tag: "Rewind" },
  stop,
  { _tag: "Supersede" }
]

describe("the phase of an execution", () => {
  for (const [from, to] of table) {
    for (const event of events) {
      const expected = to[event._tag]
      const name = JSON.stringify(from)
      it(`${name} at ${event._tag} is ${expected === undefined ? "illegal" : JSON.stringify(expected)}`, () => {
        if (expected === undefined) assert.throws(() => nextPhase(from, event), /cannot be superseded/)
        else assert.deepStrictEqual(nextPhase(from, event), expected)
      })
    }
  }

  it("keeps the first error, and interrupts the body at every stop", () => {
    const lifecycle = new Lifecycle()
    let interruptions = 0
    lifecycle.interruptBody = () => interruptions++
    lifecycle.transition({ _tag: "Interrupt" })
    assert.deepStrictEqual([lifecycle.isInterrupted, lifecycle.isEnding, interruptions], [true, false, 0])
    lifecycle.transition({ _tag: "Stop", error: conflict("first") })
    lifecycle.transition(stop)
    assert.strictEqual(lifecycle.stopError?.message, conflict("first").message)
    assert.deepStrictEqual([lifecycle.isInterrupted, lifecycle.isEnding, interruptions], [false, true, 2])
  })

  it("closes the body of a run that is interrupted or cancelled, and lets its transactions roll back", () => {
    const lifecycle = new Lifecycle()
    let interruptions = 0
    lifecycle.interruptBody = () => interruptions++
    lifecycle.transition({ _tag: "Cancel" })
    const { isCancelling, isClosing, isEnding, isInterrupted } = lifecycle
    assert.deepStrictEqual([isCancelling, isClosing, isEnding, isInterrupted], [true, true, false, false])
    lifecycle.transition({ _tag: "Rewind" })
    lifecycle.transition({ _tag: "Cancel" })
    assert.deepStrictEqual([lifecycle.isCancelling, lifecycle.isEnding, interruptions], [false, true, 1])
  })
})
