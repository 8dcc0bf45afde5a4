/**
 * What a circuit breaker asks of the processes that share it. A wing above implements it over a storage.
 */
import type * as Effect from "effect/Effect"
import type { State } from "./CircuitBreaker.js"
import type { Breaker, Settings } from "./internal/protect/breaker.js"
import { MemberBreaker } from "./internal/protect/memberBreaker.js"

/** Makes breakers that processes share. */
export const membersOf =
  (sharing: Sharing) =>
  (settings: Settings): Breaker =>
    new MemberBreaker(settings, sharing)

/** Shares the breakers of one name: a single one, or those of a keyed group. */
export interface Sharing {
  /** Called once for each breaker, when it is made. */
  readonly join: (breaker: Follower, key: string | undefined) => Membership
}

/** The breaker of this process, as the sharing sees it. */
export interface Follower {
  readonly state: State
  /** Whether this process opened the breaker itself, by its own calls, and has not closed it since. */
  readonly isOwnOpening: boolean
  /** How often it opened since it was last closed. */
  readonly openings: number
  /** Milliseconds until it admits a probe; 0 unless it is open. */
  readonly untilProbe: number
  /** Takes over what the processes hold together. */
  readonly follow: (view: SharedView) => Effect.Effect<void>
}

/** What the processes hold together. */
export interface SharedView {
  readonly state: "closed" | "open" | "isolated"
  /** Milliseconds until a probe is due; 0 unless it is open. */
  readonly untilProbe: number
  readonly openings: number
  /** It was closed by probes or by a reset since this process last looked: then openings of its own end as well. */
  readonly wasClosed: boolean
}

/** Whether a process may probe, at which place: `alone` if the others do not matter, since they call, or cannot be asked. */
export type Admission = { readonly place: string } | "alone" | "refused"

/** The place of one breaker among those that share it. No function waits, and none fails. */
export interface Membership {
  /** Called by each call of the breaker. */
  readonly called: () => void
  /** Called by each call that the trip condition counts, with its outcome. */
  readonly answered: (succeeded: boolean) => void
  /** The breaker opened by its own calls, or by the probe that has this place. */
  readonly opened: (place: string | undefined) => void
  /** The breaker closed by probes that the others do not share. */
  readonly closed: () => void
  /** Whether a probe may be asked for: false for a while after a refusal. */
  readonly mayAsk: () => boolean
  /** Asks for the place of a probe. */
  readonly admit: Effect.Effect<Admission>
  /** The probe that has this place answered well, or told nothing. One that failed is `opened`. */
  readonly probed: (place: string, result: "well" | "nothing") => void
  /** Isolates the breaker in all processes. */
  readonly isolate: Effect.Effect<void>
  /** Closes the breaker in all processes. */
  readonly reset: Effect.Effect<void>
  /** The breaker is no longer used. */
  readonly leave: () => void
}
