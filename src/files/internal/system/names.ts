import * as crypto from "node:crypto"
import { isGone, thisProcess } from "../../../host/owner.js"

const maxLength = 120

/** A file name for any text: harmless characters stay, others are percent-encoded, long texts end in a digest. */
export const encodeName = (text: string): string => {
  if (text === "") return "%"
  // A lone surrogate has no UTF-8, and encodeURIComponent throws on it.
  if (/\p{Surrogate}/u.test(text)) return withDigest("", text)
  const plain = encodeURIComponent(text)
    .replace(/[!'()*~]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
    .replace(/^\./, "%2E")
  return plain.length <= maxLength ? plain : withDigest(plain.slice(0, 60).replace(/%.?$/, ""), text)
}

const withDigest = (start: string, text: string): string =>
  `${start}~${crypto.createHash("sha256").update(text, "utf16le").digest("hex").slice(0, 32)}`

/** The text of an encoded name; of a name with a digest, only its start. */
export const decodeName = (name: string): string => {
  const [start = "", digest] = name.split("~")
  if (name === "%") return ""
  try {
    return digest === undefined ? decodeURIComponent(start) : `${decodeURIComponent(start)}…`
  } catch {
    return name
  }
}

let count = 0

/** Distinguishes the threads of a process, which each load this module. */
const nonce = crypto.randomBytes(4).toString("hex")

/** Unique within this process, across its threads. */
export const uniqueName = (): string => `${nonce}-${++count}`

/** Unique across processes: `host/pid@start/name`. */
export const uniqueOwner = (self: string = thisProcess()): string => `${self}/${uniqueName()}`

/** Whether `uniqueOwner` of this module made the name: not another thread, nor another process. */
export const isOwn = (owner: string): boolean => owner.includes(`/${nonce}-`)

/** A hidden name beside `base` that contains its process, so that `isLeftover` can tell when the process is dead. */
export const temporaryName = (base: string, self?: string): string => {
  const encoded = encodeName(base.replace(/^\./, "")).slice(0, maxLength)
  // An owner contains neither `+` nor `~`.
  return `.${encoded.replace(/~.*$/, "")}~${uniqueOwner(self).replaceAll("/", "+")}.tmp`
}

/** Whether this is a temporary name of a process that is certainly dead. */
export const isLeftover = (name: string): boolean => {
  const [, owner] = /^\.[^~]*~([^~]+)\.tmp$/.exec(name) ?? []
  return owner !== undefined && isGone(owner.replaceAll("+", "/"))
}
