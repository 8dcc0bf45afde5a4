import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Runtime from "effect/Runtime"
import { warning } from "../../resilience/internal/kernel/logged.js"
import { liveClock } from "../../resilience/internal/kernel/timer.js"
import type { Change, Control, Lease, Run, Store } from "../Store.js"

interface Watched {
  readonly onControl: (control: Control) => void
  /** What was reported last, so that each change is reported once. */
  reported: string
}

/** How often the controls of all leases are read, and when a failed read is repeated; in milliseconds. */
const pause = 1_000

/** By the platform's clock: what other processes want does not wait for a clock that the program moves. */
const sleep = (millis: number): Effect.Effect<void> => Effect.withClock(Effect.sleep(millis), liveClock)

const nothing = JSON.stringify([null, null])

/** Reports holds and requests to cancel to the executions that have the leases. */
export interface LeaseControls {
  /**
   * Reports each change to `onControl` until the returned function is called. Reads
   * at once if something may have changed since the lease was acquired.
   */
  readonly watch: (lease: Lease, onControl: (control: Control) => void, mayHaveChanged: boolean) => () => void
  readonly changed: (change: Change) => void
  /** Reports the row of a run that this process has put on hold: no step begins after that. */
  readonly held: (run: Run) => void
}

/**
 * Reads the controls of the leases of the process: those of a run as soon as it
 * changes, and those of all leases once a second unless the store is private. Its
 * fibers live only while there are leases, and a slow read delays no renewal.
 */
export const makeLeaseControls = Effect.fnUntraced(function* (
  store: Store,
  { isPrivate, leaseMillis }: { readonly isPrivate: boolean; readonly leaseMillis: number }
) {
  const watched = new Map<Lease, Watched>()
  /** The latest lease of each run. */
  const leaseOf = new Map<string, Lease>()
  const toRead = new Set<Lease>()
  const runtime = yield* Effect.runtime<never>()
  let isReading = false
  let reader: Fiber.RuntimeFiber<void> | undefined
  let poller: Fiber.RuntimeFiber<void> | undefined
  let isClosed = false

  const report = (lease: Lease, control: Control): void => {
    const one = watched.get(lease)
    const text = JSON.stringify([control.hold ?? null, control.cancel ?? null])
    if (one === undefined || one.reported === text) return
    one.reported = text
    one.onControl(control)
  }

  const read = Effect.suspend(() => {
    const leases = [...toRead]
    toRead.clear()
    const again = Effect.suspend(() => {
      for (const lease of leases) if (watched.has(lease)) toRead.add(lease)
      return sleep(pause)
    })
    // A store that keeps silent is asked again: other runs may have been leased since.
    const silent: Effect.Effect<ReadonlyArray<Control> | undefined> = Effect.as(sleep(leaseMillis), undefined)
    const reading = Effect.disconnect(Effect.suspend(() => store.controls(leases)))
    return Effect.matchCauseEffect(Effect.raceFirst(reading, silent), {
      onFailure: (cause) =>
        Cause.isFailure(cause)
          ? again
          : Effect.zipRight(warning("the storage died of a read of holds; it is repeated", cause), again),
      onSuccess: (found) => {
        if (found === undefined) return again
        const byLease = new Map(found.map((control) => [keyOf(control.lease), control]))
        for (const lease of leases) {
          // The run has changed since this read began.
          if (toRead.has(lease)) continue
          report(lease, byLease.get(keyOf(lease)) ?? { lease, hold: undefined, cancel: undefined })
        }
        return Effect.void
      }
    })
  })

  const readAll: Effect.Effect<void> = Effect.suspend(() => {
    if (toRead.size > 0) return Effect.zipRight(read, readAll)
    isReading = false
    return Effect.void
  })

  const startReader = (): void => {
    if (isReading || isClosed || toRead.size === 0) return
    isReading = true
    reader = Runtime.runFork(runtime)(readAll)
  }

  const poll: Effect.Effect<void> = Effect.suspend(() => {
    if (watched.size > 0) return Effect.zipRight(sleep(pause), Effect.zipRight(readOfAll, poll))
    poller = undefined
    return Effect.void
  })

  const readOfAll = Effect.sync(() => {
    for (const lease of watched.keys()) toRead.add(lease)
    startReader()
  })

  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      isClosed = true
      return Effect.forEach([reader, poller], (fiber) => (fiber === undefined ? Effect.void : Fiber.interrupt(fiber)))
    })
  )

  return {
    watch: (lease, onControl, mayHaveChanged) => {
      watched.set(lease, { onControl, reported: nothing })
      leaseOf.set(lease.run, lease)
      if (mayHaveChanged) toRead.add(lease)
      startReader()
      if (poller === undefined && !isPrivate && !isClosed) poller = Runtime.runFork(runtime)(poll)
      return () => {
        watched.delete(lease)
        toRead.delete(lease)
        if (leaseOf.get(lease.run) === lease) leaseOf.delete(lease.run)
      }
    },
    held: ({ cancel, hold, id, token }) => {
      const lease = leaseOf.get(id)
      if (lease?.token === token) report(lease, { lease, hold, cancel })
    },
    changed: ({ run }) => {
      if (watched.size === 0) return
      const lease = leaseOf.get(run)
      if (lease !== undefined) toRead.add(lease)
      else if (run === "") for (const one of watched.keys()) toRead.add(one)
      startReader()
    }
  } satisfies LeaseControls
})

/** A store may answer with another object for a lease. */
const keyOf = ({ key, token }: Lease): string => `${key}/${token}`
