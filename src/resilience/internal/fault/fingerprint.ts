/** What varies between two occurrences of one fault, most specific first. */
const variable: ReadonlyArray<readonly [RegExp, string]> = [
  [/\bhttps?:\/\/[^\s"'<>]+/g, "<url>"],
  [/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g, "<id>"],
  // Begins where a word begins, or a long word without a slash would be gone through from each of its letters.
  [/(?<![\w.@+-])(?:[a-z]:)?[\w.@+-]*(?:[\\/][\w.@+-]+)+[\\/]?/g, "<path>"],
  [/"[^"]*"|(?<!\w)'[^']*'(?!\w)|`[^`]*`/g, "<text>"],
  [/\b(?:0x)?[0-9a-f]*\d[0-9a-f]*\b/g, "<n>"],
  [/\d+/g, "<n>"]
]

const normalise = (message: string): string =>
  variable.reduce((text, [pattern, replacement]) => text.replace(pattern, replacement), message.toLowerCase())

/** `category-` and 53 bits of hash, so that equal faults group and different ones do not. */
export const fingerprint = (category: string, tag: string | undefined, message: string): string =>
  `${category}-${hash(`${tag ?? ""}\n${normalise(message)}`)}`

/** cyrb53 by bryc (public domain): two 32-bit multiplicative hashes, mixed. */
const hash = (text: string): string => {
  let a = 0xdeadbeef
  let b = 0x41c6ce57
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    a = Math.imul(a ^ unit, 2654435761)
    b = Math.imul(b ^ unit, 1597334677)
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909)
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909)
  return (4294967296 * (2097151 & b) + (a >>> 0)).toString(36).padStart(11, "0")
}
