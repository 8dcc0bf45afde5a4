let last: NodeJS.Signals | undefined

/** The signal this program was told to end with, if it was. */
export const received = (): NodeJS.Signals | undefined => last

export const receive = (signal: NodeJS.Signals): void => {
  last = signal
}
