import type { Journal } from "../journal/journal.js"

/** How a question is called from outside: its key, told apart from what a rewind has made forgotten. */
export const idOf = ({ epochs }: Pick<Journal, "epochs">, key: string): string => {
  const epoch = epochs.get(key)
  return epoch === undefined ? key : `${key}~${epoch + 1}`
}

/** Under which key the signal of a name is kept; no question's id begins like this. */
export const signalKey = (name: string, id: string | undefined): string =>
  `@${encodeURIComponent(name)}${id === undefined ? "" : `/${encodeURIComponent(id)}`}`
