import type { Name } from "../Lock.js"

export const toName = (name: Name | string): Name => (typeof name === "string" ? { kind: "lock", id: name } : name)

/** The kind ends at the first slash, whatever is in it. */
export const format = (name: Name | string): string => {
  const { id, kind } = toName(name)
  return `${kind.replace(/[%/]/g, encodeURIComponent)}/${id}`
}
