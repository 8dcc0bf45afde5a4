import { eastAsianWidth } from "get-east-asian-width"

/** Most texts; the cells of others are counted by grapheme. */
const isAscii = /^[\u0020-\u007e]*$/

const segmenter = new Intl.Segmenter()

/** What a reader sees as one character, with the marks that belong to it. */
const graphemes = (text: string): ReadonlyArray<string> =>
  isAscii.test(text) ? [...text] : Array.from(segmenter.segment(text), ({ segment }) => segment)

/** The first character of a grapheme that a terminal shows. */
const visible =
  /[^\p{Default_Ignorable_Code_Point}\p{Control}\p{Format}\p{Nonspacing_Mark}\p{Enclosing_Mark}\p{Surrogate}]/u

// TypeScript knows the flag v only for later targets; Node 20 has it.
// biome-ignore lint/complexity/useRegexLiterals: see above
const emoji = new RegExp("^\\p{RGI_Emoji}$", "v")

/** Several emoji that are joined to one, or a keycap, also where they lack a mark that the standard recommends. */
const joined = /\p{Extended_Pictographic}.*\u200d.*\p{Extended_Pictographic}|^[\d#*]\u20e3$/su

const cellsOf = (grapheme: string): number => {
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
