import * as Equal from "effect/Equal"
import { safely } from "../resilience/Foreign.js"

/**
 * Whether a value that was read is the one that was written. Says no only where
 * it is certain: what a schema drops by design (excess properties, the class of
 * a defect) does not count, nor do functions, which no schema writes.
 */
export const isSame = (written: unknown, read: unknown): boolean => safely(() => same(written, read)) ?? false

const same = (written: unknown, read: unknown): boolean => {
  if (Object.is(written, read)) return true
  if (typeof written !== typeof read) return false
  if (typeof written === "function") return true
  if (typeof written !== "object" || typeof read !== "object" || written === null || read === null) return false
  // An instance of a subclass may be equal, but it comes back without its class.
  return sameKind(written, read) && Equal.equals(written, read) ? true : sameObject(written, read)
}

const sameObject = (written: object, read: object): boolean => {
  if (written instanceof Error && read instanceof Error) return true
  if (written instanceof Date && read instanceof Date) return Object.is(written.getTime(), read.getTime())
  if (ArrayBuffer.isView(written) && ArrayBuffer.isView(read)) return sameItems(bytesOf(written), bytesOf(read))
  if (Array.isArray(written) || Array.isArray(read)) {
    return Array.isArray(written) && Array.isArray(read) && sameItems(written, read)
  }
  if (!sameKind(written, read)) return false
  if (isIterable(written) && isIterable(read)) return sameMembers([...written], [...read])
  return sameProperties(written, read)
}

const bytesOf = ({ buffer, byteLength, byteOffset }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength)

const sameItems = (written: ArrayLike<unknown>, read: ArrayLike<unknown>): boolean => {
  if (written.length !== read.length) return false
  for (let i = 0; i < written.length; i++) if (!same(written[i], read[i])) return false
  return true
}

/** Of one class, or both without one. */
const sameKind = (written: object, read: object): boolean => {
  const [one, other] = [Object.getPrototypeOf(written), Object.getPrototypeOf(read)]
  return one === other || (isPlain(one) && isPlain(other))
}

const isPlain = (prototype: object | null): boolean =>
  prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null

const isIterable = (value: object): value is Iterable<unknown> => Symbol.iterator in value

/** Hashed collections have no order of their own, and may give the members of an equal one in another order. */
const sameMembers = (written: ReadonlyArray<unknown>, read: ReadonlyArray<unknown>): boolean => {
  if (sameItems(written, read)) return true
  if (written.length !== read.length || written.length > mostMatched) return written.length === read.length
  const left = [...read]
  return written.every((one) => {
    const at = left.findIndex((other) => same(one, other))
    if (at >= 0) left.splice(at, 1)
    return at >= 0
  })
}

/** Matching is quadratic, so longer collections count as the same if their sizes are. */
const mostMatched = 1_000

const sameProperties = (written: object, read: object): boolean => {
  const isClass = !isPlain(Object.getPrototypeOf(read))
  return Object.entries(read).every(
    ([key, value]) =>
      // An instance may keep what it has computed, which a new one has not.
      (isClass && value === undefined) || same(Reflect.get(written, key), value)
  )
}
