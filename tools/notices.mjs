// The licences of the packages whose code a bundle holds: bundling drops the files that hold them.
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

/** The folders of the packages whose code is in the outputs of a bundle: inputs may have been left out as a whole. */
const foldersOf = ({ outputs }) =>
  Object.values(outputs)
    .flatMap(({ inputs }) => Object.entries(inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0))
    .flatMap(([file]) => /^.*\bnode_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? [])

const isLegal = (name) => /^(?:licen[cs]e|copying|notice)/i.test(name)

const noticeOf = (folder) => {
  const { license, name, version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))
  const texts = readdirSync(folder)
    .filter(isLegal)
    .sort()
    .map((file) => readFileSync(join(folder, file), "utf8").trim())
  if (texts.length === 0) throw new Error(`${name} ${version} has no licence text, so its code must not be bundled`)
  return { title: `${name} ${version} (${license})`, text: texts.join("\n\n") }
}

const line = "-".repeat(80)

/** One notice for each package, in the order of their names. */
export const noticesOf = (metafiles) => {
  const notices = [...new Set(metafiles.flatMap(foldersOf))].map(noticeOf)
  const byTitle = [...new Map(notices.map((notice) => [notice.title, notice])).values()].sort((a, b) =>
    a.title < b.title ? -1 : 1
  )
  return [
    "The command line of effect-recovery contains code of the following packages.",
    ...byTitle.map(({ text, title }) => `${title}\n${line}\n${text}`)
  ]
    .join(`\n\n${line}\n`)
    .concat("\n")
}
