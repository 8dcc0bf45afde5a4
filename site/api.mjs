// The API reference, from what docgen wrote to docs-api/: one page for each module, in the order of the package's doors.
import * as fs from "node:fs"
import * as path from "node:path"

/** The doors of the package: the name to import from, and the modules it exports. */
export const doorsOf = (root) => {
  const { exports } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"))
  return Object.keys(exports)
    .filter((name) => name !== "./package.json" && !name.includes("*"))
    .map((name) => {
      const text = fs.readFileSync(path.join(root, "src", name === "." ? "index.ts" : `${name.slice(2)}.ts`), "utf8")
      const modules = [...text.matchAll(/^export \* as (\w+) from "\.\/([\w/-]+)\.js"/gm)].map(([, module, file]) => ({
        module,
        file
      }))
      return { door: `effect-recovery${name.slice(1)}`, slug: name === "." ? "main" : name.slice(2), modules }
    })
}

/** Modules of the API that no door exports as a namespace: their names come through others. */
const pageOf = ({ door, module, slug }, text, outsideCode) => {
  const body = text
    .replace(/^[\s\S]*?^## .* overview$/m, "")
    .replace(/<h2 class="text-delta">[\s\S]*?^---$/m, "")
    .replace(/^---$/gm, "")
    // One level down: the page has its own title.
    .replace(/^(#{1,3}) (?=\S)/gm, "#$1 ")
  const plain = outsideCode(body, (part) => part.replaceAll("<", "&lt;"))
  return [
    "---",
    `title: ${module}`,
    "editLink: false",
    "outline: [2, 3]",
    "---",
    `# ${module}`,
    "",
    "```ts",
    `import { ${module} } from "${door}"`,
    "```",
    "",
    "::: v-pre",
    plain.trim(),
    ":::",
    "",
    `[All modules of ${door}](./index.md#${slug})`,
    ""
  ].join("\n")
}

/** Pairs of path and text. Without a run of docgen there is nothing to show, so that is an error. */
export const apiPages = (root, outsideCode) => {
  const pages = []
  const index = [
    "---",
    "editLink: false",
    "outline: [2, 3]",
    "---",
    "# API",
    "",
    "Every module of each door, from its doc comments.",
    ""
  ]
  for (const { door, modules, slug } of doorsOf(root)) {
    index.push(`## \`${door}\` {#${slug}}`, "")
    for (const { file, module } of modules) {
      const source = path.join(root, "docs-api/modules", `${file}.ts.md`)
      if (!fs.existsSync(source)) throw new Error(`${source} is missing: run npm run docs first`)
      const text = fs.readFileSync(source, "utf8")
      const summary = /^## .* overview\n\n([\s\S]*?)(?:\n\n|\n$)/m.exec(text)?.[1]?.replaceAll("\n", " ") ?? ""
      const page = slug === "main" ? `${module}.md` : `${slug}/${module}.md`
      index.push(`- [\`${module}\`](./${page}): ${outsideCode(summary, (part) => part.replaceAll("<", "&lt;"))}`)
      pages.push([
        `api/${page}`,
        pageOf({ door, module, slug }, text, outsideCode).replace(
          "./index.md",
          slug === "main" ? "./index.md" : "../index.md"
        )
      ])
    }
    index.push("")
  }
  return [...pages, ["api/index.md", index.join("\n")]]
}
