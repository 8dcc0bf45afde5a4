/** The help of one command, from the parser's description of it, whose own text is as wide as its longest line. */
import * as HelpDoc from "@effect/cli/HelpDoc"
import { section } from "./overview.js"
import { bold, type Screen, withoutStyles } from "./screen.js"
import { wrap } from "./width.js"

/** An option or argument. */
interface Parameter {
  /** As it is typed, such as `--limit NUMBER`. */
  readonly typed: string
  readonly about: string
  readonly isRequired: boolean
}

const textOf = (doc: HelpDoc.HelpDoc): string => withoutStyles(HelpDoc.toAnsiText(doc)).replace(/\s+/g, " ").trim()

/** The blocks of a text in their order. */
const blocks = (doc: HelpDoc.HelpDoc): ReadonlyArray<HelpDoc.HelpDoc> =>
  HelpDoc.isSequence(doc) ? [...blocks(doc.left), ...blocks(doc.right)] : [doc]

const kinds: Readonly<Record<string, string>> = { text: "TEXT", integer: "NUMBER" }

/** What the parser adds to each description. */
const added = /^This (?:setting|option|argument) /

const parameter = ([name, doc]: HelpDoc.DescriptionList["definitions"][number]): Parameter => {
  const [word = "", ...rest] = textOf(HelpDoc.p(name)).split(" ")
  const kind = rest.join(" ").replace(/\.\.\.$/, "")
  const isChoice = kind.includes("|")
  // The first block says of which type the value is.
  const [, ...texts] = blocks(doc).map(textOf)
  const notes = texts.filter((text) => added.test(text))
  const given = texts.filter((text) => !added.test(text)).join(" ")
  const sentences = [
    given,
    isChoice ? `One of ${kind.replaceAll(" | ", ", ")}` : "",
    notes.some((text) => text.includes("zero or more")) ? "May be repeated" : ""
  ]
  return {
    typed: [word, isChoice ? "NAME" : (kinds[kind] ?? kind)].filter(Boolean).join(" "),
    about: sentences.filter(Boolean).join(". "),
    isRequired: notes.length === 0
  }
}

const parameters = (doc: HelpDoc.HelpDoc): ReadonlyArray<Parameter> =>
  blocks(doc).flatMap((block) => (HelpDoc.isDescriptionList(block) ? block.definitions.map(parameter) : []))

/** What a command does. */
export const aboutCommand = (doc: HelpDoc.HelpDoc): string =>
  textOf(blocks(doc).find(HelpDoc.isParagraph) ?? HelpDoc.empty)

/** `below` are the commands of a command, by name. */
export const commandHelp = (
  screen: Screen,
  words: ReadonlyArray<string>,
  doc: HelpDoc.HelpDoc,
  below: ReadonlyArray<readonly [name: string, about: string]> = []
): string => {
  const all = parameters(doc)
  const options = all.filter(({ typed }) => typed.startsWith("--"))
  const usage = [
    ...(below.length === 0 ? [] : ["COMMAND"]),
    ...all
      .filter((one) => !options.includes(one))
      .map(({ isRequired, typed }) => {
        const name = typed.replace(/^<(.*)>$/, "$1").toUpperCase()
        return isRequired ? name : `[${name}]`
      }),
    ...options.filter(({ isRequired }) => isRequired).map(({ typed }) => typed),
    "[options]"
  ]
  return [
    wrap(`${bold(screen, ["recovery", ...words].join(" "))} ${usage.join(" ")}`, screen.width).join("\n"),
    wrap(`${aboutCommand(doc)}.`, screen.width).join("\n"),
    ...(below.length === 0 ? [] : [section(screen, "Commands", below)]),
    ...(options.length === 0
      ? []
      : [
          section(
            screen,
            "Options",
            options.map(({ about, typed }) => [typed, about])
          )
        ])
  ].join("\n\n")
}
