import * as crypto from "node:crypto"
import * as Redacted from "effect/Redacted"

export const makeToken = (): Redacted.Redacted<string> => Redacted.make(crypto.randomBytes(24).toString("base64url"))

const digest = (token: Redacted.Redacted<string>): Buffer =>
  crypto.createHash("sha256").update(Redacted.value(token)).digest()

/** Takes the same time whatever is given, so that nobody can feel his way to the token. */
export const isToken = (token: Redacted.Redacted<string>): ((given: Redacted.Redacted<string>) => boolean) => {
  const known = digest(token)
  return (given) => crypto.timingSafeEqual(known, digest(given))
}
