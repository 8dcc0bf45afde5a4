/**
 * Encrypts everything that a storage keeps of a program's values, with AES-256-GCM. Keys have ids: the first one
 * encrypts, all of them decrypt, so a key is replaced by putting the new one in front.
 */
import * as crypto from "node:crypto"
import { Array, Effect, Redacted, Schema } from "effect"
import { Step, type Storage, Workflow } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"

interface Key {
  /** Up to 255 bytes, stored in plain text with each payload. */
  readonly id: string
  /** 32 bytes. */
  readonly key: Redacted.Redacted<Uint8Array>
}

const nonceLength = 12
const tagLength = 16

export const encryptedBy = (keys: Array.NonEmptyReadonlyArray<Key>): Storage.Payloads => ({
  // Stored: the length of the id, the id, the nonce, the tag, and the encrypted payload.
  encode: (payload, place) => {
    const { id, key } = Array.headNonEmpty(keys)
    const head = Buffer.from(id)
    const nonce = crypto.randomBytes(nonceLength)
    const cipher = crypto.createCipheriv("aes-256-gcm", Redacted.value(key), nonce)
    // No payload can stand in the place of another kind.
    cipher.setAAD(Buffer.from(place))
    const encrypted = [cipher.update(payload), cipher.final()]
    return Buffer.concat([Buffer.of(head.length), head, nonce, cipher.getAuthTag(), ...encrypted])
  },
  decode: (stored, place) => {
    const nonceAt = 1 + (stored[0] ?? 0)
    const tagAt = nonceAt + nonceLength
    const dataAt = tagAt + tagLength
    const id = Buffer.from(stored.subarray(1, nonceAt)).toString()
    const found = keys.find((key) => key.id === id)
    if (found === undefined) throw new Error(`there is no key "${id}"`)
    const nonce = stored.subarray(nonceAt, tagAt)
    const decipher = crypto.createDecipheriv("aes-256-gcm", Redacted.value(found.key), nonce, {
      authTagLength: tagLength
    })
    decipher.setAAD(Buffer.from(place))
    decipher.setAuthTag(stored.subarray(tagAt, dataAt))
    return Buffer.concat([decipher.update(stored.subarray(dataAt)), decipher.final()])
  }
})

export const storage = (filename: string, keys: Array.NonEmptyReadonlyArray<Key>) =>
  SqliteStorage.layer({ filename, payloads: encryptedBy(keys) })

const Login = Schema.Struct({ user: Schema.String, password: Schema.Redacted(Schema.String) })

const open = Step.make("open", {
  success: Login,
  run: ({ user }: { user: string }) => Effect.succeed({ user, password: Redacted.make(`password of ${user}`) })
})

/** Its result is a secret, which a resume needs. */
export const CreateAccount = Workflow.make(
  "create-account",
  { input: Schema.Struct({ user: Schema.String }), success: Login },
  (input) => open(input)
)
