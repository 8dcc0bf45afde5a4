/** Redacts JSON: the texts below secret names, and secrets within other texts. */
import { type Json, safely } from "../../Foreign.js"
import { mark, type NameTest } from "./names.js"

/** A text that may be JSON: a value that was encoded before the one around it. */
const isNested = (text: string): boolean => /^\s*[[{]/.test(text)

/** Names the parts of a pair in lists of headers and variables. */
const pairNames = ["name", "key", "header"] as const

/** Keys whose texts stay as they are. */
type Kept = ReadonlySet<string>

const none: Kept = new Set()

/** Makes the function that redacts JSON. What holds no secret is returned as the same value. */
export const valueRedactor = ({ isSecret }: NameTest, redactText: (text: string) => string) => {
  /** A value within a text has ids of its own, which are not those of the value around it. */
  const inText = (text: string): string => {
    const parsed = isNested(text) ? safely(() => ({ json: JSON.parse(text) as Json })) : undefined
    if (parsed === undefined) return redactText(text)
    const redacted = visit(parsed.json, none)
    return redacted === parsed.json ? text : JSON.stringify(redacted)
  }

  /** All texts of a value whose name is that of a secret. */
  const hideAll = (json: Json): Json => {
    if (typeof json === "string") return json === "" ? json : mark
    return typeof json === "object" && json !== null ? mapParts(json, hideAll) : json
  }

  const visit = (json: Json, kept: Kept): Json => {
    if (typeof json === "string") return inText(json)
    if (typeof json !== "object" || json === null) return json
    return isSecretPair(json)
      ? mapParts(json, (part, key) => (isNameOf(key) ? visit(part, kept) : hideAll(part)))
      : mapParts(json, (part, key) => (typeof key === "string" ? ofKey(key, part, kept) : visit(part, kept)))
  }

  const ofKey = (key: string, json: Json, kept: Kept): Json => {
    if (kept.has(key) && isTextOrTexts(json)) return json
    return isSecret(key) ? hideAll(json) : visit(json, kept)
  }

  /** `["authorization", "Basic …"]` and `{ name: "TOKEN", value: "…" }`. */
  const isSecretPair = (json: Json): boolean => {
    const isNameOfSecret = (name: unknown) => typeof name === "string" && name.length <= 256 && isSecret(name)
    if (isList(json)) return json.length === 2 && isNameOfSecret(json[0]) && typeof json[1] === "string"
    const fields = json as { readonly [key: string]: Json }
    return Object.hasOwn(fields, "value") && pairNames.some((name) => isNameOfSecret(fields[name]))
  }

  return (json: Json, kept: Kept = none): Json => visit(json, kept)
}

const isTextOrTexts = (json: Json): boolean =>
  isList(json) ? json.every((item) => typeof item === "string") : typeof json === "string"

const isNameOf = (key: string | number): boolean => key === 0 || (typeof key === "string" && key !== "value")

const isList = (json: Json): json is ReadonlyArray<Json> => Array.isArray(json)

/** The value with its parts changed; the same value if none did. */
const mapParts = (json: object & Json, change: (part: Json, key: string | number) => Json): Json => {
  if (isList(json)) {
    const items = json.map(change)
    return items.some((item, i) => item !== json[i]) ? items : json
  }
  let changed = false
  const entries = Object.entries(json).map(([key, part]): readonly [string, Json] => {
    const redacted = change(part, key)
    changed ||= redacted !== part
    return [key, redacted]
  })
  return changed ? Object.fromEntries(entries) : json
}
