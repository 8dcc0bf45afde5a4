// Compiles src to dist as `tsc -p tsconfig.build.json`, and marks each call that a module makes while it is loaded as
// pure: bundlers keep calls otherwise, and with them all that they reach.

import ts from "typescript"

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
  process.exitCode = 1
}

const { fileNames, options } = ts.getParsedCommandLineOfConfigFile("tsconfig.build.json", {}, host)
const program = ts.createProgram(fileNames, options)
const { diagnostics } = program.emit(undefined, undefined, undefined, false, { after: [markPure] })
const found = [...ts.getPreEmitDiagnostics(program), ...diagnostics]
if (found.length > 0) report(found)
