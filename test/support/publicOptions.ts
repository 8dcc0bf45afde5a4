import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

const root = fileURLToPath(new URL("../../", import.meta.url))
const doors = fs
  .readdirSync(path.join(root, "src"))
  .filter((file) => file.endsWith(".ts"))
  .map((file) => path.basename(file, ".ts"))

/** An option of the public API that takes a duration, a count, a share or a date. */
export interface PublicOption {
  /** The module and declaration that contain it, such as `durable/Worker Options.sweep`. */
  readonly key: string
  readonly documentation: string
}

/**
 * Finds all options by their types: it follows the exports of all doors to the parameters of their functions, and from
 * there to the properties of the options. What a function of the library returns is followed too.
 */
export const publicOptions = (): ReadonlyArray<PublicOption> => {
  const config = ts.readConfigFile(path.join(root, "tsconfig.json"), ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent(config.config, ts.sys, root)
  const program = ts.createProgram(
    doors.map((door) => path.join(root, "src", `${door}.ts`)),
    { ...options, noEmit: true, skipLibCheck: true, incremental: false, composite: false }
  )
  return new Walk(program).options
}

/** Bounds types of other packages whose instances never end. */
const maxDepth = 25

class Walk {
  private readonly checker: ts.TypeChecker
  private readonly found = new Map<string, PublicOption>()
  private readonly outputs = new Set<ts.Type | ts.Symbol>()
  private readonly inputs = new Set<ts.Type | ts.Symbol>()
  private depth = 0

  constructor(program: ts.Program) {
    this.checker = program.getTypeChecker()
    for (const door of doors) {
      const file = program.getSourceFile(path.join(root, "src", `${door}.ts`))
      const module = file && this.checker.getSymbolAtLocation(file)
      if (module === undefined) throw new Error(`there is no door ${door}`)
      for (const symbol of this.checker.getExportsOfModule(module)) this.visitExport(symbol)
    }
  }

  get options(): ReadonlyArray<PublicOption> {
    return [...this.found.values()].sort((a, b) => (a.key < b.key ? -1 : 1))
  }

  private visitExport(symbol: ts.Symbol): void {
    const target = symbol.flags & ts.SymbolFlags.Alias ? this.checker.getAliasedSymbol(symbol) : symbol
    if (target.flags & ts.SymbolFlags.Module) {
      for (const member of this.checker.getExportsOfModule(target)) this.visitExport(member)
      return
    }
    const declared = target.declarations?.[0]
    if (declared === undefined || !isOwn(declared)) return
    if (target.flags & ts.SymbolFlags.Value) this.visitOutput(this.checker.getTypeOfSymbol(target))
    // Interfaces of the library have methods with options, even if no function returns them.
    if (target.flags & ts.SymbolFlags.Type) this.visitOutput(this.checker.getDeclaredTypeOfSymbol(target))
  }

  /** A type that the library gives: its functions take options. */
  private visitOutput(type: ts.Type): void {
    if (!this.enters(type, this.outputs)) return
    this.depth++
    for (const part of this.partsOf(type)) this.visitOutput(part)
    for (const signature of type.getCallSignatures()) {
      for (const parameter of signature.getParameters()) this.visitInput(parameter)
      this.visitOutput(signature.getReturnType())
    }
    for (const property of this.ownProperties(type)) this.visitOutput(this.checker.getTypeOfSymbol(property))
    this.depth--
  }

  /** Visits each declaration once, since instances of a generic type have the same options. */
  private enters(type: ts.Type, visited: Set<ts.Type | ts.Symbol>): boolean {
    const own = [type.aliasSymbol, type.symbol].find((symbol) => isOwn(symbol?.declarations?.[0]))
    const key = own ?? type
    if (visited.has(key) || this.depth > maxDepth) return false
    visited.add(key)
    return true
  }

  /** A parameter or the property of an options object. */
  private visitInput(symbol: ts.Symbol): void {
    const type = this.checker.getTypeOfSymbol(symbol)
    const declaration = symbol.declarations?.[0]
    if (declaration !== undefined && isOwn(declaration) && !ts.isPropertyAssignment(declaration)) {
      if (this.isQuantity(type)) this.add(symbol, declaration)
    }
    this.visitInputType(type)
  }

  private visitInputType(type: ts.Type): void {
    if (!this.enters(type, this.inputs)) return
    this.depth++
    const constraint = type.flags & ts.TypeFlags.Instantiable ? this.checker.getBaseConstraintOfType(type) : undefined
    if (constraint !== undefined) this.visitInputType(constraint)
    for (const part of this.partsOf(type)) this.visitInputType(part)
    for (const property of this.ownProperties(type)) this.visitInput(property)
    this.depth--
  }

  /** The members of a union or intersection, and the type arguments. */
  private partsOf(type: ts.Type): ReadonlyArray<ts.Type> {
    if (type.isUnionOrIntersection()) return type.types
    const reference = type as ts.TypeReference
    const isReference = ((reference.objectFlags ?? 0) & ts.ObjectFlags.Reference) !== 0
    return [...(type.aliasTypeArguments ?? []), ...(isReference ? this.checker.getTypeArguments(reference) : [])]
  }

  private ownProperties(type: ts.Type): ReadonlyArray<ts.Symbol> {
    if (!(type.flags & ts.TypeFlags.Object) && !type.isIntersection()) return []
    return this.checker.getPropertiesOfType(type).filter((property) => {
      const declaration = property.declarations?.[0]
      return declaration !== undefined && isOwn(declaration)
    })
  }

  /** A number, a duration or a date, or a list of them. */
  private isQuantity(type: ts.Type): boolean {
    if (type.flags & ts.TypeFlags.Number) return true
    if (type.isUnion()) return type.types.some((member) => this.isQuantity(member))
    if (this.checker.isArrayType(type)) {
      return this.checker.getTypeArguments(type as ts.TypeReference).some((member) => this.isQuantity(member))
    }
    return ["Duration", "Date"].includes(type.symbol?.name) && !isOwn(type.symbol.declarations?.[0])
  }

  private add(symbol: ts.Symbol, declaration: ts.Declaration): void {
    const key = `${moduleOf(declaration)} ${containerOf(declaration)}${symbol.name}`
    const documentation = ts.displayPartsToString(symbol.getDocumentationComment(this.checker))
    if (!this.found.has(key))
      this.found.set(key, { key, documentation: documentation || documentationAround(declaration) })
  }
}

const isOwn = (declaration: ts.Node | undefined): boolean =>
  declaration?.getSourceFile().fileName.startsWith(path.join(root, "src")) === true

const moduleOf = (declaration: ts.Node): string =>
  path.relative(path.join(root, "src"), declaration.getSourceFile().fileName).replace(/\.ts$/, "")

/** The names of the declarations around it, with a dot after each. */
const containerOf = (declaration: ts.Node): string => {
  const names: Array<string> = []
  for (let node = declaration.parent; node !== undefined; node = node.parent) {
    const named = node as ts.NamedDeclaration
    const isDeclaration =
      ts.isInterfaceDeclaration(node) ||
      ts.isTypeAliasDeclaration(node) ||
      ts.isVariableDeclaration(node) ||
      ts.isFunctionDeclaration(node) ||
      ts.isClassDeclaration(node) ||
      ts.isPropertySignature(node)
    if (isDeclaration && named.name !== undefined) names.unshift(`${named.name.getText()}.`)
  }
  return names.join("")
}

/** The comment of the function or property whose parameter it is. */
const documentationAround = (declaration: ts.Node): string => {
  for (let node: ts.Node | undefined = declaration.parent; node !== undefined; node = node.parent) {
    const comments = ts.getJSDocCommentsAndTags(node)
    if (comments.length > 0) return comments.map((comment) => comment.getText()).join("\n")
  }
  return ""
}
