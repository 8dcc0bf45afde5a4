/** What the output can show. */
export interface Screen {
  /** In columns; undefined if it is unlimited or unknown. */
  readonly width: number | undefined
  readonly colour: boolean
  /** The option that names the storage, for commands that are printed. Defaults to none. */
  readonly target?: ReadonlyArray<readonly [name: string, value: string]> | undefined
}

/** `COLUMNS` is about a terminal: a pipe has no width, and rows for another program are not cut. */
const widthOfStream = ({ columns, isTTY }: NodeJS.WriteStream): number | undefined =>
  // A terminal that does not know its width says 0.
  isTTY ? columns || Number.parseInt(process.env.COLUMNS ?? "", 10) || undefined : undefined

export const screenOf = (stream: NodeJS.WriteStream): Screen => ({
  width: widthOfStream(stream),
  colour: stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== "dumb"
})

/** Control and bidirectional characters: a name from outside must not move the cursor. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern matches control characters
export const control = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+/g

export const plain = (value: unknown): string =>
  value === null || value === undefined ? "" : String(value).replace(control, " ")

export const bold = ({ colour }: Screen, text: string): string => (colour ? `\u001b[1m${text}\u001b[22m` : text)

// biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern matches control characters
const styles = /\u001b\[[0-9;]*m/g

// biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern matches control characters
const styleOrText = /(\u001b\[[0-9;]*m|\n)|[^\u001b\n]+|\u001b/g

/** A text of several lines that may have styles, and names in it that nothing has made plain. */
export const plainText = (text: string): string =>
  text.replace(styleOrText, (part, kept) => (kept === undefined ? plain(part) : part))

export const withoutStyles = (text: string): string => text.replace(styles, "")
