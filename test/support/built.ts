import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"

const changedAt = (file: string): number => fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0

/** Builds the command line and the page, unless they are newer than their sources: some tests run them as published. */
export default () => {
  // Written last. A folder changes when a file in it is removed.
  const builtAt = changedAt("dist/THIRD-PARTY-NOTICES.txt")
  const sources = fs.readdirSync("src", { recursive: true, encoding: "utf8" }).map((file) => path.join("src", file))
  const tools = ["tools/bundle.mjs", "tools/notices.mjs", "package.json", "package-lock.json"]
  if (["src", ...sources, ...tools].every((file) => changedAt(file) < builtAt)) return
  execFileSync(process.execPath, ["tools/bundle.mjs"])
}
