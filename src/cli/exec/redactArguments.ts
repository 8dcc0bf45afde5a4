/** Names of options and variables whose values are secret. */
const secret =
  "(?:[\\w.-]*[_.-])?(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?)"

const hidden = "[redacted]"

const isSecretOption = new RegExp(`^--?${secret}$`, "i")

const secretValue = new RegExp(`^((?:--?)?${secret}=).+$`, "is")

const userInUrl = /(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/@]*@/gi

/** The arguments of a command without passwords and tokens, as they are put on record. */
export const redactArguments = (args: ReadonlyArray<string>): ReadonlyArray<string> =>
  args.map((arg, i) =>
    isSecretOption.test(args[i - 1] ?? "")
      ? hidden
      : arg.replace(secretValue, `$1${hidden}`).replace(userInUrl, `$1${hidden}@`)
  )
