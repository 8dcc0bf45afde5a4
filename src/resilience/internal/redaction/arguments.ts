/** Redacts the arguments of a command. */
import { mark, type NameTest } from "./names.js"

/** What the argument after an option is. */
type Value = "secret" | "header" | "user"

/** Options whose names do not tell that a secret follows. */
const options: Readonly<Record<string, Value>> = {
  "-H": "header",
  "--header": "header",
  "--proxy-header": "header",
  "-u": "user",
  "--user": "user",
  "--proxy-user": "user",
  "--auth": "user",
  "-b": "secret",
  "--cookie": "secret"
}

/** Programs with a short option for a password, whose value may follow without a blank. */
const passwordOptions: ReadonlyArray<readonly [program: RegExp, option: string]> = [
  [/^(?:mysql|mariadb)/, "-p"],
  [/^sshpass/, "-p"],
  [/^redis-cli/, "-a"],
  [/^(?:ldap|mongo)/, "-w"]
]

const nameOfProgram = (path: string): string => path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1)

/** Makes the function that redacts the arguments of a command. The name of the program is the first of them. */
export const argumentsRedactor = (
  { isHeader, isSecret }: NameTest,
  redactText: (text: string) => string
): ((given: ReadonlyArray<string>) => ReadonlyArray<string>) => {
  /** What follows an option that is written as an argument of its own. */
  const valueAfter = (argument: string, password: string | undefined): Value | undefined => {
    if (argument === password) return "secret"
    if (Object.hasOwn(options, argument)) return options[argument]
    return /^--?[\p{L}\d][\w.-]*$/u.test(argument) && isSecret(argument) ? "secret" : undefined
  }

  const hide = (value: string, kind: Value): string => {
    if (kind === "secret") return value === "" ? "" : mark
    const colon = value.indexOf(":")
    if (kind === "user") return colon < 0 ? redactText(value) : `${value.slice(0, colon)}:${mark}`
    return colon > 0 && (isHeader(value.slice(0, colon)) || isSecret(value.slice(0, colon)))
      ? `${value.slice(0, colon)}: ${mark}`
      : redactText(value)
  }

  /** An argument that holds its name and its value, or only text. */
  const alone = (argument: string, password: string | undefined): string => {
    if (password !== undefined && argument.length > 2 && argument.startsWith(password)) return `${password}${mark}`
    if (/^-[Hub]./.test(argument) && !argument.startsWith("--")) {
      const kind = options[argument.slice(0, 2)]
      const rest = argument.slice(2)
      if (kind !== undefined && (kind !== "secret" || rest.includes("=")))
        return argument.slice(0, 2) + hide(rest, kind)
    }
    const assigned = /^((?:--?)?[\p{L}_][\w.-]{0,100})=(.+)$/su.exec(argument)
    if (assigned === null) return redactText(argument)
    const [, name = "", value = ""] = assigned
    const kind = valueAfter(name, undefined) ?? (isSecret(name) ? "secret" : undefined)
    return kind === undefined ? redactText(argument) : `${name}=${hide(value, kind)}`
  }

  return ([program, ...given]) => {
    if (program === undefined) return []
    const password = passwordOptions.find(([name]) => name.test(nameOfProgram(program)))?.[1]
    let next: Value | undefined
    const redacted = given.map((argument) => {
      const kind = next
      next = undefined
      // An option without a value: the next one follows at once.
      if (kind !== undefined && !argument.startsWith("--")) return hide(argument, kind)
      next = valueAfter(argument, password)
      return next === undefined ? alone(argument, password) : argument
    })
    return [alone(program, undefined), ...redacted]
  }
}
