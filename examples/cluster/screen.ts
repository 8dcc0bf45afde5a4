/** Plain text when piped or with NO_COLOR, a little colour on a terminal. */
const colourful = process.stdout.isTTY === true && process.env["NO_COLOR"] === undefined

const paint = (code: number) => (text: string) => (colourful ? `\u001b[${code}m${text}\u001b[0m` : text)

export const bold = paint(1)
export const dim = paint(2)
export const red = paint(31)
export const green = paint(32)

const startedAt = Date.now()

export const say = (text = ""): void => {
  process.stdout.write(`${text}\n`)
}

export const seconds = (millis: number): string => `${(millis / 1000).toFixed(1)} s`

/** A line with its time since the beginning. */
export const note = (text: string): void => {
  say(`${dim(seconds(Date.now() - startedAt).padStart(7))}  ${text}`)
}
