const none = {}

/** Labels describe and decide nothing, so damaged ones must not keep what they describe from being read. */
export const toLabels = (text: string): Readonly<Record<string, string>> => {
  if (text === "{}") return none
  try {
    return JSON.parse(text)
  } catch {
    return { damaged: text }
  }
}
