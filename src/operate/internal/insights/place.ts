/** The name of a step without its sections and its number: what is learned of it holds for each use. */
export const stepName = (key: string): string => decode(key.replace(/^.*\//, "").replace(/#\d+$/, ""))

/** The number of the innermost iteration a step belongs to; 0 outside of loops. */
export const iterationOf = (key: string): number => Number(/\[(\d+)\]\/[^[]*$/.exec(key)?.[1] ?? 0)

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

export const placeOf = (source: { readonly step?: string | undefined; readonly recovery?: string | undefined }) =>
  source.step === undefined ? (source.recovery ?? "") : stepName(source.step)
