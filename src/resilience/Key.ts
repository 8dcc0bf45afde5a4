/**
 * Keys made of several texts. All keys are joined here, so that different parts
 * make different keys. Names without punctuation stay as they are.
 */

/** Escapes the punctuation that joins keys. A name that is escaped contains none of `/#[]`. */
export const escapeName = (name: string): string =>
  /[%/#[\]]/.test(name) ? name.replace(/[%/#[\]]/g, encodeURIComponent) : name

/** Joins names by slashes. */
export const joinKey = (...names: ReadonlyArray<string>): string => names.map(escapeName).join("/")

/** The key of a use: the first is the name itself. */
export const useKey = (base: string, count: number): string => (count === 1 ? base : `${base}#${count}`)

/** The key without the number of its use. */
export const withoutUse = (key: string): string => key.replace(/#\d+$/, "")

/** The key after `epoch` rewinds removed it. */
export const epochKey = (key: string, epoch: number | undefined): string => {
  // A tilde in a name would look like the mark. Names contain `%` only as `%25`, so the escape is not a name either.
  const plain = key.includes("~") ? key.replaceAll("~", "%7E") : key
  return epoch === undefined ? plain : `${plain}~${epoch + 1}`
}

/** The step or strategy that asks the question with this key; undefined for any other key. */
export const askedBy = (key: string): string | undefined => /^(.*)\?\d*$/s.exec(key)?.[1]

/** Whether a step asks the question with this key; the questions of other strategies have no number. */
export const isAskedByStep = (key: string): boolean => /\?\d+$/.test(key)

/** Marks a wait whose name could be read as the key of a question. Brackets cannot occur in names. */
export const waitMark = (name: string): string => (name.includes("?") ? "[wait]" : "")

/** Marks the uses of child runs, whose names are no names of steps. */
export const childMark = "[child]"

/** The path of a child in its parent: its sections and its name. `key` is the key of one of its uses. */
export const childPath = (key: string): string => withoutUse(key).slice(0, -childMark.length)
