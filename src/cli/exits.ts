/** Every exit code with its meaning; `docs/operate/cli.md` documents them, too. It imports nothing, so --help starts fast. */
export const exits = {
  Done: [0, "done"],
  Failed: [1, "the request was carried out and failed"],
  Usage: [2, "the command line is wrong"],
  NotFound: [3, "there is no record with this id"],
  Refused: [4, "refused in the current state; nothing was changed"],
  Storage: [5, "the storage failed"],
  Config: [6, "the configuration cannot be used"],
  Different: [7, "two storages that should be equal are not"],
  Defect: [70, "a bug"]
} as const
