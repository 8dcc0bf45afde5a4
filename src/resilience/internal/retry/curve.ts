import type * as Duration from "effect/Duration"
import { toMillis } from "../kernel/timer.js"

/** From the number of the retry (0 for the first) to milliseconds, before jitter and clamp. */
export type Curve = (retry: number) => number

export const exponential =
  (initial: number, factor: number): Curve =>
  (retry) =>
    initial === 0 ? 0 : initial * factor ** retry

export const linear =
  (initial: number, increment: number): Curve =>
  (retry) =>
    initial + increment * retry

export const fixed =
  (delay: number): Curve =>
  () =>
    delay

export const fibonacci =
  (unit: number): Curve =>
  (retry) => {
    let [a, b] = [1, 1]
    for (let i = 0; i < retry && Number.isFinite(b); i++) [a, b] = [b, a + b]
    return unit * a
  }

/** May throw: what a user's function does is up to the user. */
export const custom =
  (delay: (retry: number) => Duration.DurationInput): Curve =>
  (retry) =>
    toMillis(delay(retry))
