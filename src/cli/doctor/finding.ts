export type Status = "ok" | "warning" | "failing"

/** What a check has found. */
export interface Finding {
  readonly check: string
  readonly status: Status
  readonly message: string
  /** What to do, unless the status is `ok`. */
  readonly advice?: string | undefined
}

export const fine = (check: string, message: string): Finding => ({ check, status: "ok", message })

export const warning = (check: string, message: string, advice: string): Finding => ({
  check,
  status: "warning",
  message,
  advice
})

export const failing = (check: string, message: string, advice?: string): Finding => ({
  check,
  status: "failing",
  message,
  ...(advice === undefined ? {} : { advice })
})
