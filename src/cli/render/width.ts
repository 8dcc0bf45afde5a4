import { eastAsianWidth } from "get-east-asian-width"

/** Most texts; the cells of others are counted by grapheme. */
const isAscii = /^[\u0020-\u007e]*$/

/** Made at its first use: it loads the tables of the Unicode library, which takes longer than the rest of --help. */
const lazily = <A>(make: () => A): (() => A) => {
  let made: A | undefined
  return () => {
    made ??= make()
    return made
  }
}

const segmenter = lazily(() => new Intl.Segmenter())

/** What a reader sees as one character, with the marks that belong to it. */
const graphemes = (text: string): ReadonlyArray<string> =>
  isAscii.test(text) ? [...text] : Array.from(segmenter().segment(text), ({ segment }) => segment)

/** The characters of a grapheme that a terminal does not show by themselves. */
const hidden = ["Default_Ignorable_Code_Point", "Control", "Format", "Nonspacing_Mark", "Enclosing_Mark", "Surrogate"]

const [emoji, pictograph] = ["\\p{RGI_Emoji}", "\\p{Extended_Pictographic}"]

/** Made from texts, since a literal with such a property loads those tables when the file is read. */
const patterns = lazily(() => ({
  visible: new RegExp(`[^${hidden.map((property) => `\\p{${property}}`).join("")}]`, "u"),
  emoji: new RegExp(`^${emoji}$`, "v"),
  /** Several emoji that are joined to one, or a keycap, also where they lack a mark that the standard recommends. */
  joined: new RegExp(`${pictograph}.*\u200d.*${pictograph}|^[0-9#*]\u20e3$`, "su")
}))

const cellsOf = (grapheme: string): number => {
  const { emoji, joined, visible } = patterns()
  const base = visible.exec(grapheme)?.[0]
  if (base === undefined) return 0
  return emoji.test(grapheme) || joined.test(grapheme) ? 2 : eastAsianWidth(base.codePointAt(0) ?? 0)
}

/** The cells of a terminal that a text fills: "日本" fills 4, "👩‍👩‍👧" fills 2. */
export const widthOf = (text: string): number =>
  isAscii.test(text) ? text.length : graphemes(text).reduce((sum, grapheme) => sum + cellsOf(grapheme), 0)

/** As much of the text's beginning as fits. */
const beginning = (text: string, width: number): string => {
  let used = 0
  let end = 0
  for (const grapheme of graphemes(text)) {
    used += widthOf(grapheme)
    if (used > width) break
    end += grapheme.length
  }
  return text.slice(0, end)
}

export const pad = (text: string, width: number): string => text + " ".repeat(Math.max(0, width - widthOf(text)))

/** Cuts the end off, unless the text fits. */
export const cut = (text: string, width: number): string => {
  if (widthOf(text) <= width) return text
  return width < 1 ? "" : `${beginning(text, width - 1)}…`
}

/** Cuts the beginning off, unless the text fits. */
export const cutBeginning = (text: string, width: number): string => {
  if (widthOf(text) <= width) return text
  const parts = graphemes(text)
  let used = 1
  let start = parts.length
  while (start > 0 && used + widthOf(parts[start - 1] ?? "") <= width) used += widthOf(parts[--start] ?? "")
  return width < 1 ? "" : `…${parts.slice(start).join("")}`
}

/** Breaks a text into lines, between words where possible. */
export const wrap = (text: string, width: number | undefined): ReadonlyArray<string> => {
  if (width === undefined) return [text]
  const lines: Array<string> = []
  let rest = text
  while (widthOf(rest) > width) {
    // A grapheme wider than the line still takes one.
    const fitting = beginning(rest, width) || (graphemes(rest)[0] ?? rest)
    const space = rest[fitting.length] === " " ? fitting.length : fitting.lastIndexOf(" ")
    const end = space > 0 ? space : fitting.length
    lines.push(rest.slice(0, end))
    rest = rest.slice(end).trimStart()
  }
  return [...lines, rest]
}

/** Puts as many parts on each line as fit. */
export const paragraph = (parts: ReadonlyArray<string>, separator: string, width: number | undefined): string => {
  const lines: Array<string> = []
  for (const part of parts) {
    const last = lines.at(-1)
    const longer = last === undefined ? part : last + separator + part
    if (last !== undefined && (width === undefined || widthOf(longer) <= width)) lines[lines.length - 1] = longer
    else lines.push(part)
  }
  return lines.join("\n")
}
