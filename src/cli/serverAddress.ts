import * as Effect from "effect/Effect"
import { type Ended, ended } from "./exit.js"

export const isAddress = (name: string): boolean => /^postgres(?:ql)?:\/\//i.test(name.trim())

/** The address of a server; undefined for a file. `by` is what names it. */
export const parseAddress = (
  by: string,
  name: string,
  code: "Usage" | "Config"
): Effect.Effect<URL | undefined, Ended> =>
  isAddress(name)
    ? Effect.try({
        try: () => new URL(name.trim()),
        // The message must not show the address: it may hold a password.
        catch: () =>
          ended(
            code,
            `${by} is no address. Write it as postgres://USER:PASSWORD@HOST:PORT/DATABASE, with %-codes for special characters.`
          )
      })
    : Effect.succeed(undefined)

/** An address without its password and settings. */
export const shownAddress = (address: URL): string => {
  const plain = new URL(address)
  plain.password = ""
  plain.search = ""
  return plain.href
}
