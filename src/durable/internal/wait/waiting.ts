import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Journal } from "../../../journal/Journal.js"
import type { StartedWait } from "../../../journal/JournalLine.js"
import { Waiting } from "../../../journal/RunError.js"
import type { Parked } from "../execution/activity.js"

/** The id of a wait for callers outside the run: its key, and how often a rewind has removed that key. */
export const waitId = ({ epochs }: Pick<Journal, "epochs">, key: string): string => {
  const epoch = epochs.get(key)
  return epoch === undefined ? key : `${key}~${epoch + 1}`
}

/** The key under which a signal is stored. No id of a question begins with "@". */
export const signalKey = (name: string, id: string | undefined): string =>
  `@${encodeURIComponent(name)}${id === undefined ? "" : `/${encodeURIComponent(id)}`}`

/** A time in epoch milliseconds as a date. */
export const dateOption = (millis: number | undefined): Option.Option<Date> =>
  millis === undefined ? Option.none() : Option.some(new Date(millis))

/** The time itself, or undefined (no limit) for a time beyond the last date there is. */
export const finiteTime = (time: number): number | undefined => (time <= lastDate ? time : undefined)

const lastDate = 8.64e15

/** How a fiber waits, with what a suspended run shows of the wait. */
export const parkedOf = (journal: Journal, key: string, line: StartedWait): Omit<Parked, "answer"> => {
  const { about, fault, kind, parameters = [], refused, signal, startedAt, to, until } = line
  const waiting: Waiting = {
    id: waitId(journal, key),
    kind,
    about,
    to: Option.fromNullable(to),
    fault: Option.fromNullable(fault),
    parameters,
    refused: Option.fromNullable(refused),
    since: new Date(startedAt),
    until: dateOption(until)
  }
  return { kind, signal, until, waiting }
}

/** The waits of a suspended run are stored in its row, so that a list of runs reads no journal. */
const Row = Schema.parseJson(Schema.Array(Waiting))

const encode = Schema.encodeSync(Row)
const decode = Schema.decodeUnknownOption(Row)

export const encodeWaiting = (waits: ReadonlyArray<Waiting>): string | undefined =>
  waits.length === 0 ? undefined : encode(waits)

/** An unreadable row yields no waits: it only describes the run, and must not break a list. */
export const readWaiting = (text: string | undefined): ReadonlyArray<Waiting> =>
  text === undefined ? [] : Option.getOrElse(decode(text), () => [])
