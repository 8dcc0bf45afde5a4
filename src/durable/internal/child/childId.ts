import { childMark, childPath, epochKey, escapeName } from "../../../resilience/Key.js"
import type { Execution } from "../execution/execution.js"

type Parent = Pick<Execution, "id" | "generation" | "journal">

/**
 * The id of a child, by its sections and its name. All of it after the last slash is the child's, so children of two
 * parents never meet. A rewind that removes the child's first use makes it another run, as does another generation.
 */
export const childIdAt = ({ generation, id, journal }: Parent, path: string): string => {
  const name = escapeName(epochKey(path, journal.epochs.get(path + childMark)))
  return `${id}/${name}${generation === 1 ? "" : `[${generation}]`}`
}

/** The id of the child that a recorded use is about. A fork has recorded uses of the children of the other run. */
export const childIdOf = (parent: Parent, key: string, recorded: string | undefined): string => {
  const own = `${parent.id}/`
  const isOwn = recorded?.startsWith(own) === true && !recorded.slice(own.length).includes("/")
  return isOwn ? recorded : childIdAt(parent, childPath(key))
}
