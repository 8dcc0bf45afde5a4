// The table of all options, read from the interfaces that the modules of the package export.
import * as fs from "node:fs"
import * as path from "node:path"
import ts from "typescript"
import { doorsOf } from "./api.mjs"

const isOptions = (name) => /(?:Options|Query|Retention|Rate|Rule|Due|Timing|Compensation|Place|When|Check)$/.test(name)

const parse = (file) => ts.createSourceFile(file, fs.readFileSync(file, "utf8"), ts.ScriptTarget.Latest, true)

const isExported = (node) => node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword) === true

/** The interfaces of options that a module exports, its own and those of the files it exports from. */
const interfacesOf = (file, wanted) => {
  const found = new Map()
  const add = (name, node) => {
    if (isOptions(name) && (wanted === undefined || wanted.has(name))) found.set(name, node)
  }
  for (const statement of parse(file).statements) {
    if (ts.isInterfaceDeclaration(statement) && isExported(statement)) add(statement.name.text, statement)
    if (!ts.isExportDeclaration(statement) || statement.moduleSpecifier === undefined) continue
    const from = path.join(path.dirname(file), statement.moduleSpecifier.text.replace(/\.js$/, ".ts"))
    if (!fs.existsSync(from)) continue
    const clause = statement.exportClause
    const names =
      clause !== undefined && ts.isNamedExports(clause)
        ? clause.elements.map(({ name, propertyName }) => [(propertyName ?? name).text, name.text])
        : undefined
    const inner = interfacesOf(from, names && new Set(names.map(([name]) => name)))
    for (const [name, node] of inner) add(names?.find(([from]) => from === name)?.[1] ?? name, node)
  }
  return found
}

const oneLine = (text) => text.replace(/\s+/g, " ").trim()
const cell = (text) => oneLine(text).replaceAll("|", "\\|").replaceAll("<", "&lt;")
const code = (text) => (text === "" ? "" : `\`${oneLine(text).replaceAll("|", "\\|")}\``)

/** The doc comment without its tags. `{@link x}` is `x`. */
const commentOf = (node) => {
  const text = ts
    .getJSDocCommentsAndTags(node)
    .filter(ts.isJSDoc)
    .map(({ comment }) => ts.getTextOfJSDocComment(comment) ?? "")
    .join(" ")
  return text.replace(/\{@link\s+([^}]+)\}/g, "`$1`")
}

const membersOf = (node) =>
  node.members.filter((member) => ts.isPropertySignature(member) || ts.isMethodSignature(member))

const rowOf = (member) => {
  const name = member.name.getText()
  const type = ts.isPropertySignature(member) ? (member.type?.getText() ?? "") : "a function"
  const short = type.length > 90 ? `${oneLine(type).slice(0, 86)} …` : type
  return `| ${code(`${name}${member.questionToken === undefined ? "" : "?"}`)} | ${code(short)} | ${cell(commentOf(member))} |`
}

/** The tables, by door and module. A `?` marks an option that may be left out. */
export const optionsTables = (root) => {
  const lines = ["A `?` marks an option that may be left out.", ""]
  for (const { door, modules } of doorsOf(root)) {
    const tables = modules.flatMap(({ file, module }) =>
      [...interfacesOf(path.join(root, "src", `${file}.ts`))].flatMap(([name, node]) => {
        const members = membersOf(node)
        if (members.length === 0 || members.every((member) => commentOf(member) === "")) return []
        const inherited = (node.heritageClauses ?? []).flatMap(({ types }) =>
          types.map((type) => `\`${type.getText()}\``)
        )
        return [
          [
            `### \`${module}.${name}\``,
            "",
            cell(commentOf(node)),
            ...(inherited.length > 0 ? ["", `And the options of ${inherited.join(", ")}.`] : []),
            "",
            "| Option | Type | |",
            "| --- | --- | --- |",
            ...members.map(rowOf),
            ""
          ].join("\n")
        ]
      })
    )
    if (tables.length > 0) lines.push(`## \`${door}\``, "", ...tables)
  }
  return `${lines.join("\n")}\n`
}
