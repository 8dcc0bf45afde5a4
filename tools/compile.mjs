// Compiles src to dist as `tsc -p tsconfig.build.json`, with three differences:
// - Each call that a module makes while it is loaded is marked as pure: bundlers keep calls otherwise, and with them all
//   that they reach.
// - Scripts have no comments, since editors read them in the declarations. The marks stay.
// - Only what a door reaches is written: a declaration that no public type names is of no use to a program.
// With EFFECT_DIAGNOSTICS=1 it also reports what `npm run check:effect:library` does, which would check the types of the same
// program again.

import { mkdirSync, writeFileSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { transformSync } from "esbuild"
import ts from "typescript"
import { doors } from "./exports.mjs"

const pure = (node) => ts.addSyntheticLeadingComment(node, ts.SyntaxKind.MultiLineCommentTrivia, "#__PURE__")

const isStatic = (member) =>
  ts.isPropertyDeclaration(member) && ts.getModifiers(member)?.some(({ kind }) => kind === ts.SyntaxKind.StaticKeyword)

/** @type {ts.TransformerFactory<ts.SourceFile>} */
const markPure = (context) => {
  /** Marks the calls of an expression, but none in the bodies of functions. */
  const inExpression = (node) => {
    if (ts.isFunctionLike(node)) return node
    if (ts.isClassLike(node)) return inClass(node)
    const marked = ts.visitEachChild(node, inExpression, context)
    return ts.isCallExpression(node) || ts.isNewExpression(node) ? pure(marked) : marked
  }
  const inClass = (node) =>
    ts.visitEachChild(
      node,
      (child) => {
        if (ts.isHeritageClause(child)) return inExpression(child)
        return isStatic(child) ? ts.visitEachChild(child, inExpression, context) : child
      },
      context
    )
  const inStatement = (node) => {
    if (ts.isVariableStatement(node)) return inExpression(node)
    return ts.isClassDeclaration(node) ? inClass(node) : node
  }
  return (file) => ts.visitEachChild(file, inStatement, context)
}

const host = { ...ts.sys, onUnRecoverableConfigFileDiagnostic: (diagnostic) => report([diagnostic]) }
const report = (diagnostics) => {
  const format = {
    getCanonicalFileName: (name) => name,
    getCurrentDirectory: ts.sys.getCurrentDirectory,
    getNewLine: () => "\n"
  }
  process.stderr.write(ts.formatDiagnostics(diagnostics, format))
  if (diagnostics.some(({ category }) => category === ts.DiagnosticCategory.Error)) process.exitCode = 1
}

/** What a compiler that `effect-language-service patch` has patched reports beside its own diagnostics. */
const effectDiagnostics = async (program, options) => {
  const { checkSourceFileWorker } = await import("@effect/language-service/effect-lsp-patch-utils.js")
  const found = []
  for (const file of program.getSourceFiles()) {
    if (file.isDeclarationFile) continue
    checkSourceFileWorker(ts, program, file, options, (diagnostic) => found.push(diagnostic), "typescript")
  }
  return found
}

/** The relative paths that a file imports: in statements, in dynamic imports and in types such as `import("./Fault.js").Fault`. */
const importsOf = (file, text) => {
  const found = []
  const visit = (node) => {
    const named =
      node.moduleSpecifier ??
      (ts.isImportTypeNode(node) ? node.argument.literal : undefined) ??
      (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword
        ? node.arguments[0]
        : undefined)
    if (named !== undefined && ts.isStringLiteralLike(named) && named.text.startsWith(".")) found.push(named.text)
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.ES2022))
  return found
}

/** The files that a door reaches by imports, among those that were compiled. */
const reachedFrom = (entries, compiled) => {
  const reached = new Set()
  const visit = (file) => {
    const text = compiled.get(file)
    if (text === undefined || reached.has(file)) return
    reached.add(file)
    const extension = file.endsWith(".d.ts") ? ".d.ts" : ".js"
    for (const imported of importsOf(file, text)) visit(join(dirname(file), imported.replace(/\.js$/, extension)))
  }
  for (const entry of entries) {
    const file = resolve(entry)
    if (!compiled.has(file)) throw new Error(`the door ${entry} was not compiled`)
    visit(file)
  }
  return reached
}

const { fileNames, options } = ts.getParsedCommandLineOfConfigFile("tsconfig.build.json", {}, host)
const program = ts.createProgram(fileNames, options)
/** @type {Map<string, string>} */
const compiled = new Map()
const keep = (file, text) => {
  const isScript = file.endsWith(".js")
  compiled.set(resolve(file), isScript ? transformSync(text, { target: "es2022", legalComments: "none" }).code : text)
}
const { diagnostics } = program.emit(undefined, keep, undefined, false, { after: [markPure] })
report([
  ...ts.getPreEmitDiagnostics(program),
  ...diagnostics,
  ...(process.env.EFFECT_DIAGNOSTICS === "1" ? await effectDiagnostics(program, options) : [])
])

const entries = doors.flatMap(({ module, types }) => [types, module])
for (const file of reachedFrom(entries, compiled)) {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, compiled.get(file))
}
