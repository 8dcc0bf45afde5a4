import * as crypto from "node:crypto"
import { isGone, thisProcess } from "../../../host/owner.js"

const longest = 120

/** A file name for any text: what is harmless stays readable, what is long ends in a digest. */
export const encodeName = (text: string): string => {
  if (text === "") return "%"
  // Half of a surrogate pair has no UTF-8.
  if (/\p{Surrogate}/u.test(text)) return digested("", text)
  const plain = encodeURIComponent(text)
    .replace(/[!'()*~]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
    .replace(/^\./, "%2E")
  return plain.length <= longest ? plain : digested(plain.slice(0, 60).replace(/%.?$/, ""), text)
}

const digested = (start: string, text: string): string =>
  `${start}~${crypto.createHash("sha256").update(text, "utf16le").digest("hex").slice(0, 32)}`

/** What a name stood for, as far as it tells. */
export const decodeName = (name: string): string => {
  const [start = "", digest] = name.split("~")
  if (name === "%") return ""
  try {
    return digest === undefined ? decodeURIComponent(start) : `${decodeURIComponent(start)}…`
  } catch {
    return name
  }
}

let made = 0

/** Threads of one process have one number and each a copy of this module. */
const nonce = crypto.randomBytes(4).toString("hex")

/** Never the same again, in whatever thread of this process. */
export const uniqueName = (): string => `${nonce}-${++made}`

/** The same for all processes: `host/pid@start/name`. */
export const uniqueOwner = (): string => `${thisProcess()}/${uniqueName()}`

/** A name beside the one it will take the place of, which says who made it. */
export const temporaryName = (base: string): string => {
  const encoded = encodeName(base).slice(0, longest)
  // A host has no `+` and no `~` in its name.
  return `.${encoded.replace(/~.*$/, "")}~${uniqueOwner().replaceAll("/", "+")}.tmp`
}

/** Whether it is a temporary name of a process that is known to be gone. */
export const isLeftover = (name: string): boolean => {
  const [, tag] = /^\.[^~]*~([^~]+)\.tmp$/.exec(name) ?? []
  return tag !== undefined && isGone(tag.replaceAll("+", "/"))
}
