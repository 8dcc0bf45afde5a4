import * as fs from "node:fs"
import * as path from "node:path"

/** All files below a folder: contents, permissions and links. */
export const treeOf = (root: string): Readonly<Record<string, string>> => {
  const found: Record<string, string> = {}
  const visit = (at: string) => {
    for (const name of fs.readdirSync(at).sort()) {
      const full = path.join(at, name)
      const stats = fs.lstatSync(full)
      const mode = (stats.mode & 0o7777).toString(8)
      const key = path.relative(root, full)
      if (stats.isSymbolicLink()) found[key] = `-> ${fs.readlinkSync(full)}`
      else if (stats.isDirectory()) {
        found[`${key}/`] = mode
        visit(full)
      } else found[key] = `${mode} ${stats.nlink} ${fs.readFileSync(full, "utf8")}`
    }
  }
  visit(root)
  return found
}
