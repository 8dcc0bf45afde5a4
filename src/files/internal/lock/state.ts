/** What the one file in the folder of a lock is called. */
export interface State {
  readonly token: number
  /** When it was acquired or given back, epoch milliseconds, by the clock of whoever did; for people. */
  readonly since: number
  /** Nobody: it is free. */
  readonly owner: string | undefined
  /** How often the owner has said that it is alive. */
  readonly beat: number
}

// A host has no `~` and no `+` in its name, and the rest of an owner has neither.
export const formatState = ({ beat, owner, since, token }: State): string =>
  owner === undefined ? `free~${token}~${since}` : `held~${token}~${since}~${owner.replaceAll("/", "+")}~${beat}`

/** What could not have been written by us is none. */
export const parseState = (name: string): State | undefined => {
  const state = parse(name)
  return state !== undefined && state.token < Number.MAX_SAFE_INTEGER && formatState(state) === name ? state : undefined
}

const parse = (name: string): State | undefined => {
  const [, free, freeSince] = /^free~(\d+)~(\d+)$/.exec(name) ?? []
  if (free !== undefined) return { token: Number(free), since: Number(freeSince), owner: undefined, beat: 0 }
  const [, token, since, owner, beat] = /^held~(\d+)~(\d+)~([^~]+)~(\d+)$/.exec(name) ?? []
  if (owner === undefined) return undefined
  return { token: Number(token), since: Number(since), owner: owner.replaceAll("+", "/"), beat: Number(beat) }
}
