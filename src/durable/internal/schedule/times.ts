/** The due times of a schedule, by its rule alone: every process finds the same ones. */
import * as Cron from "effect/Cron"
import * as DateTime from "effect/DateTime"
import * as Either from "effect/Either"
import * as Option from "effect/Option"

/** Times of a local clock, or a period that is counted from 1970 on, in milliseconds. */
export type Rule =
  | { readonly cron: string; readonly timeZone: string }
  | { readonly every: number; readonly cron?: undefined }

export interface Times {
  /** The first due time after this one, in epoch milliseconds; `undefined` if there is none. */
  readonly next: (after: number) => number | undefined
}

/** Undefined if the cron expression or the time zone cannot be read. */
export const timesOf = (rule: Rule): Times | undefined => {
  if (rule.cron === undefined) return { next: (after) => (Math.floor(after / rule.every) + 1) * rule.every }
  const zone = zoneOf(rule.timeZone)
  // In UTC, so that the expression sees each time of the local clock once, as if the clock were never changed.
  const cron = Option.getOrUndefined(Either.getRight(Cron.parse(rule.cron, "UTC")))
  if (zone === undefined || cron === undefined) return undefined
  const local = (wall: number) => safeNext(cron, wall)
  // An expression for every hour means a period; one with hours means times of the day.
  const next = cron.hours.size === 0 || cron.hours.size === 24 ? nextInPeriod : nextOfDay
  return { next: (after) => next(zone, local, after) }
}

export const zoneOf = (name: string): Zone | undefined => {
  const zone = Option.getOrUndefined(DateTime.zoneFromString(name))
  return zone && { offsetAt: (time) => DateTime.zonedOffset(DateTime.unsafeMakeZoned(time, { timeZone: zone })) }
}

interface Zone {
  /** What the local clock is ahead of UTC at this time, in milliseconds. */
  readonly offsetAt: (time: number) => number
}

/** The next time of the local clock that the expression names. Times of the local clock are numbers as if it were UTC. */
type Local = (after: number) => number | undefined

const safeNext = (cron: Cron.Cron, after: number): number | undefined => {
  try {
    return Cron.next(cron, after).getTime()
  } catch {
    // Effect throws if there is none, such as on the 30th of February.
    return undefined
  }
}

/**
 * A time of the day is due when the local clock first shows it or a later time: a
 * time that the clock skips is due when the clock has changed, and one that it
 * shows twice is due the first time.
 */
const nextOfDay = (zone: Zone, local: Local, after: number): number | undefined => {
  let wall = local(after + zone.offsetAt(after) - 1_000)
  while (wall !== undefined) {
    const time = firstShown(zone, wall)
    if (time > after) return time
    wall = local(wall)
  }
  return undefined
}

/** When the local clock first shows this time or a later one. */
const firstShown = (zone: Zone, wall: number): number => {
  const [before, after] = [zone.offsetAt(wall - offsetsWithin), zone.offsetAt(wall + offsetsWithin)]
  for (const offset of [before, after]) {
    if (zone.offsetAt(wall - offset) === offset) return wall - offset
  }
  return changeWithin(zone, wall - after, wall - before)
}

/** A period continues through both passes of an hour that the local clock shows twice, and has no time that it skips. */
const nextInPeriod = (zone: Zone, local: Local, after: number): number | undefined => {
  let since = after
  let wall = local(since + zone.offsetAt(since))
  while (wall !== undefined) {
    const offset = zone.offsetAt(since)
    const time = wall - offset
    const until = Math.min(time, since + offsetsWithin)
    const changed = [until, time].find((end) => zone.offsetAt(end) !== offset)
    if (changed === undefined) return time
    since = changeWithin(zone, since, changed)
    wall = local(since + zone.offsetAt(since) - 1)
  }
  return undefined
}

/** The offsets of all zones lie within it, and no zone changes its offset twice within it. */
const offsetsWithin = 26 * 3_600_000

/** The first time with the offset of `to`: there is one change between `from` and `to`. */
const changeWithin = ({ offsetAt }: Zone, from: number, to: number): number => {
  let [low, high] = [from, to]
  const changed = offsetAt(to)
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (offsetAt(middle) === changed) high = middle
    else low = middle
  }
  return high
}

/** The latest due times after one time and until another one, at most so many, the oldest first. */
export const latestTimes = ({ next }: Times, after: number, until: number, most: number): ReadonlyArray<number> => {
  for (let span = 60_000; ; span *= 4) {
    const since = Math.max(after, until - span)
    const found: Array<number> = []
    for (let time = next(since); time !== undefined && time <= until; time = next(time)) {
      found.push(time)
      if (found.length > most) found.shift()
    }
    if (found.length === most || since === after) return found
  }
}
