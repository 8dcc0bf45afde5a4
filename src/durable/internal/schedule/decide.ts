/** What a schedule does at a time: without effects, so that every process decides alike. */
import { runId, type Settings, type State } from "./state.js"
import { latestTimes, type Times } from "./times.js"

/** A due time that passed longer ago was missed, in milliseconds. */
const missedAfter = 60_000

/** The state of a schedule that begins now. */
export const initialState = (settings: Settings, now: number): State => ({
  settings,
  cursor: now,
  starts: [],
  waiting: [],
  open: []
})

/** What is to be made up for, of all due times that are not decided. */
const chosenTimes = ({ cursor, settings: { backlog, catchUp } }: State, times: Times, now: number) => {
  const latest = latestTimes(times, cursor, now, catchUp === "all" ? backlog : 1)
  return catchUp === "none" ? latest.filter((due) => now - due <= missedAfter) : latest
}

/** Clocks of hosts differ by less. What is further in the future was written before a clock was set back, in milliseconds. */
const clockError = 86_400_000

/** The state by the present clock, so that no due time waits until the clock is where it was before it was set back. */
export const atPresent = (state: State, now: number): State =>
  state.cursor - now > clockError ? { ...state, cursor: now } : state

/** The due time of a run by hand: two within a millisecond are two runs. */
export const dueByHand = ({ last, starts }: State, now: number): number =>
  [...starts, ...(last === undefined ? [] : [last])]
    .filter(({ due }) => due - now <= clockError)
    .reduce((latest, { due }) => Math.max(latest, due + 1), now)

/** Decides a run: it is recorded after that. */
export const withStart = (name: string, state: State, due: number): State => {
  const start = { run: runId(name, due), due }
  const open = state.settings.overlap === "allow" ? state.open : [...state.open, start.run]
  return { ...state, starts: [...state.starts, start], open, last: start }
}

/** One due time after the others. One that is decided again, since the clock was set back, has its run. */
const withDue = (name: string, state: State, due: number): State => {
  const { backlog, overlap } = state.settings
  const run = runId(name, due)
  if (state.open.includes(run) || state.starts.some((start) => start.run === run)) return state
  const isBusy = state.open.length > 0 || state.waiting.length > 0
  if (overlap === "allow" || !isBusy) return withStart(name, state, due)
  if (overlap === "skip") return state
  return { ...state, waiting: overlap === "cancel" ? [due] : [...state.waiting, due].slice(-backlog) }
}

/** The state after all due times until now, in which `open` lists the runs that have not ended. */
export const decide = (name: string, state: State, times: Times, now: number): State => {
  if (state.paused !== undefined) return state
  const first = state.open.length === 0 ? state.waiting[0] : undefined
  const begun = first === undefined ? state : withStart(name, { ...state, waiting: state.waiting.slice(1) }, first)
  const next = times.next(state.cursor)
  if (next === undefined || next > now) return begun
  const decided = chosenTimes(state, times, now).reduce((state, due) => withDue(name, state, due), begun)
  return { ...decided, cursor: now }
}

/** The state under other settings. What was due until now was due by the old rule. */
export const withSettings = (name: string, state: State, settings: Settings, times: Times, now: number): State => ({
  ...decide(name, state, times, now),
  settings,
  cursor: Math.max(state.cursor, now)
})

/** No due time of the pause is made up for. */
export const resumed = ({ paused: _, ...state }: State, now: number): State => ({
  ...state,
  cursor: Math.max(state.cursor, now)
})
