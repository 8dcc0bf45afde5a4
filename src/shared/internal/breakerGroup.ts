import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Runtime from "effect/Runtime"
import type { Sharing } from "../../resilience/BreakerSharing.js"
import { steadyMillis } from "../../resilience/internal/kernel/timer.js"
import * as Storage from "../../storage/Storage.js"
import { BreakerMember } from "./breakerMember.js"
import type { Rule } from "./breakerRecord.js"
import { makeRecords, type Records } from "./records.js"

export interface Settings {
  /** The name of the breaker or of the group. */
  readonly name: string
  readonly rule: Rule
  /** The least time between two looks at the storage. */
  readonly intervalMillis: number
  /** How long the storage has to answer. */
  readonly timeoutMillis: number
}

/** What the members of one process share. */
export interface Group {
  readonly process: string
  readonly settings: Settings
  readonly records: Records
  /** Milliseconds of a clock that only moves forward. */
  readonly now: () => number
  /** Runs it beside the caller, outside of its transaction, until the scope closes. */
  readonly fork: <A>(self: Effect.Effect<A>) => Fiber.RuntimeFiber<A>
  /** Looks at the storage, unless the last look was within the interval or still runs. */
  readonly called: () => void
  readonly leave: (member: BreakerMember) => void
}

/**
 * Shares a breaker, or a group of them, with all processes on the storage. It has no timer: calls start looks, at most
 * one an interval. One query finds all breakers of the group that are not quiet.
 */
export const makeSharing = Effect.fnUntraced(function* (settings: Settings) {
  const storage = yield* Storage.Storage
  const scope = yield* Effect.scope
  const clock: Clock.Clock = yield* Effect.clock
  const runFork = Runtime.runFork(yield* Effect.runtime<never>())
  const records = makeRecords(storage, settings.name, settings.timeoutMillis)
  const members = new Map<string, BreakerMember>()
  const fork = <A>(self: Effect.Effect<A>) => runFork(self, { scope })
  const now = () => steadyMillis(clock)
  let nextLook = Number.NEGATIVE_INFINITY
  let isLooking = false

  const look = Effect.suspend(() => {
    // What calls say from here on is for the next look.
    for (const member of members.values()) member.beginLook()
    return Effect.flatMap(records.alerts, (alerts) =>
      Effect.forEach(
        [...members.values()].filter((member) => alerts.has(member.id) || member.isInvolved),
        (member) => member.look,
        { concurrency: 10, discard: true }
      )
    )
  })
  const looked = Effect.ensuring(
    records.orAlone(look, undefined),
    Effect.sync(() => {
      isLooking = false
    })
  )
  const group: Group = {
    process: storage.owner,
    settings,
    records,
    now,
    fork,
    called: () => {
      if (isLooking || now() < nextLook) return
      isLooking = true
      nextLook = now() + settings.intervalMillis
      fork(looked)
    },
    leave: (member) => {
      if (members.get(member.id) === member) members.delete(member.id)
    }
  }
  const sharing: Sharing = {
    join: (breaker, key) => {
      const member = new BreakerMember(group, breaker, key)
      members.set(member.id, member)
      return member
    }
  }
  return sharing
})
