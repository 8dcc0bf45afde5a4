import * as Effect from "effect/Effect"
import { type Ended, ended } from "./exit.js"

export const isAddress = (name: string): boolean => /^postgres(?:ql)?:\/\//i.test(name.trim())

/** A letter alone is a drive of Windows. */
const anyScheme = /^[a-z][a-z0-9+.-]+:\/+/i

/** The address of a server; undefined for a file. `by` is what names it. No message shows the address: it may hold a password. */
export const parseAddress = (
  by: string,
  name: string,
  code: "Usage" | "Config"
): Effect.Effect<URL | undefined, Ended> => {
  if (isAddress(name)) {
    return Effect.try({
      try: () => new URL(name.trim()),
      catch: () =>
        ended(
          code,
          `${by} is no address. Write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE, with %-codes for special characters.`
        )
    })
  }
  const scheme = anyScheme.exec(name.trim())
  return scheme === null
    ? Effect.succeed(undefined)
    : ended(code, `${by} begins with ${scheme[0]}. Name a SQLite file by its path, or a postgres:// address.`)
}

/** An address without its password and settings. */
export const shownAddress = (address: URL): string => {
  const plain = new URL(address)
  plain.password = ""
  plain.search = ""
  return plain.href
}
