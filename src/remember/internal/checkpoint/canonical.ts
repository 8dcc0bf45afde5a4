import type * as AST from "effect/SchemaAST"

/**
 * What is known of a schema before anything is written by it. A plain one
 * changes nothing on the way, and its types alone say what it takes; so its
 * values need not be walked through to be written, nor to be read back while
 * the digest and the schema are those they were written with.
 */
export interface Shape {
  readonly isPlain: boolean
  /** All names a value can have in it, in order; undefined if there may be others. */
  readonly keys: ReadonlyArray<string> | undefined
}

export const shapeOf = (ast: AST.AST): Shape => {
  const keys = new Set<string>()
  const seen = new Set<AST.AST>()
  let isPlain = true
  let isClosed = true

  const visit = (node: AST.AST): void => {
    if (seen.has(node)) return
    seen.add(node)
    switch (node._tag) {
      case "StringKeyword":
      case "NumberKeyword":
      case "BooleanKeyword":
      case "UndefinedKeyword":
      case "VoidKeyword":
      case "NeverKeyword":
      case "Enums":
      case "TemplateLiteral":
        return
      case "Literal":
        if (typeof node.literal === "bigint") isPlain = false
        return
      case "UnknownKeyword":
      case "AnyKeyword":
      case "ObjectKeyword":
        isClosed = false
        return
      case "Suspend":
        visit(node.f())
        return
      case "Union":
        for (const type of node.types) visit(type)
        return
      case "TupleType":
        for (const { type } of [...node.elements, ...node.rest]) visit(type)
        return
      case "TypeLiteral":
        for (const { name, type } of node.propertySignatures) {
          if (typeof name === "symbol") isPlain = false
          else keys.add(String(name))
          visit(type)
        }
        for (const { type } of node.indexSignatures) {
          isClosed = false
          visit(type)
        }
        return
      default:
        isPlain = false
    }
  }

  visit(ast)
  return { isPlain, keys: isClosed && isPlain ? [...keys].sort() : undefined }
}

/**
 * One text per value, whatever the order of its keys. Throws at what JSON has
 * no form for.
 */
export const canonicalText = (json: unknown, keys: ReadonlyArray<string> | undefined): string => {
  const text = keys === undefined ? JSON.stringify(sorted(json)) : JSON.stringify(json, keys as Array<string>)
  if (text === undefined) return ""
  // JSON writes what it does not know as null; only a text with a null can hide one.
  if (text.includes("null")) JSON.stringify(json, refuseLossy)
  return text
}

function refuseLossy(this: unknown, key: string, value: unknown): unknown {
  const lossy = typeof value === "number" ? !Number.isFinite(value) : value === undefined && Array.isArray(this)
  if (lossy) throw new RangeError(`${value} at ${key === "" ? "the top" : `"${key}"`} has no JSON form`)
  return value
}

const sorted = (json: unknown): unknown => {
  if (typeof json !== "object" || json === null) return json
  if ("toJSON" in json && typeof json.toJSON === "function") return json
  if (Array.isArray(json)) return json.map(sorted)
  return Object.fromEntries(
    Object.entries(json)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]) => [key, sorted(value)])
  )
}
