import type * as AST from "effect/SchemaAST"

/**
 * What is known of a schema before anything is written by it. A plain one
 * changes nothing on the way, and its types alone say what it takes; so its
 * values need not be walked through to be written, nor to be read back while
 * the digest and the schema are those they were written with.
 */
export interface Shape {
  /** Tells schemas of different forms apart; annotations are no part of it. */
  readonly form: string
  readonly isPlain: boolean
  /** All names a value can have in it, in the order they are written; undefined if there may be others. */
  readonly keys: Keys | undefined
}

export interface Keys {
  readonly inOrder: Array<string>
  readonly rank: ReadonlyMap<string, number>
}

export const shapeOf = (ast: AST.AST): Shape => {
  const keys = new Set<string>()
  const seen = new Map<AST.AST, number>()
  let isPlain = true
  let isClosed = true

  const notPlain = (what: string) => {
    isPlain = false
    return what
  }

  const all = (nodes: ReadonlyArray<AST.AST>): string => nodes.map(visit).join(",")

  const property = ({ isOptional, name, type }: AST.PropertySignature): string => {
    if (typeof name === "symbol") return notPlain("symbol")
    keys.add(String(name))
    return `${JSON.stringify(name)}${isOptional ? "?" : ""}:${visit(type)}`
  }

  const visit = (node: AST.AST): string => {
    const known = seen.get(node)
    // A schema may lead back to itself.
    if (known !== undefined) return `^${known}`
    switch (node._tag) {
      case "Literal":
        return typeof node.literal === "bigint" ? notPlain("bigint") : JSON.stringify(node.literal)
      case "Enums":
        return `enum ${JSON.stringify(node.enums)}`
      case "TemplateLiteral":
        return `template ${node}`
      case "StringKeyword":
      case "NumberKeyword":
      case "BooleanKeyword":
      case "UndefinedKeyword":
      case "VoidKeyword":
      case "NeverKeyword":
        return node._tag
      case "UnknownKeyword":
      case "AnyKeyword":
      case "ObjectKeyword":
        isClosed = false
        return node._tag
      case "Suspend":
        seen.set(node, seen.size)
        return visit(node.f())
      case "Union":
        return `(${node.types.map(visit).join("|")})`
      case "TupleType": {
        const elements = node.elements.map(({ isOptional, type }) => `${visit(type)}${isOptional ? "?" : ""}`)
        return `[${elements.join(",")};${all(node.rest.map(({ type }) => type))}]`
      }
      case "TypeLiteral": {
        seen.set(node, seen.size)
        const properties = node.propertySignatures.map(property)
        if (node.indexSignatures.length > 0) isClosed = false
        const index = node.indexSignatures.map(({ parameter, type }) => `${visit(parameter)}:${visit(type)}`)
        return `{${properties.join(",")};${index.join(",")}}`
      }
      default:
        return notPlain(node._tag)
    }
  }

  const form = visit(ast)
  const rank = new Map([...keys].map((key, i) => [key, i]))
  return { form, isPlain, keys: isClosed && isPlain ? { inOrder: [...keys], rank } : undefined }
}

/**
 * One text per value, whatever the order of its keys. Throws at what JSON has
 * no form for.
 */
export const canonicalText = (json: unknown, keys: Keys | undefined): string => {
  const text =
    keys === undefined
      ? JSON.stringify(sorted(json))
      : // A list of keys makes JSON twice as slow, and is not needed where they are in its order already.
        JSON.stringify(json, isInOrder(json, keys.rank) ? undefined : keys.inOrder)
  if (text === undefined) return ""
  // JSON writes what it does not know as null; only a text with a null can hide one.
  if (text.includes("null")) JSON.stringify(json, refuseLossy)
  return text
}

/** Most values are made in the order of their schema. */
const isInOrder = (json: unknown, rank: ReadonlyMap<string, number>): boolean => {
  if (typeof json !== "object" || json === null) return true
  if (Array.isArray(json)) {
    for (const item of json) if (typeof item === "object" && !isInOrder(item, rank)) return false
    return true
  }
  // What writes itself may write anything.
  if ("toJSON" in json) return false
  let last = -1
  for (const key in json) {
    const at = rank.get(key)
    if (at === undefined || at <= last) return false
    last = at
    const value = (json as Readonly<Record<string, unknown>>)[key]
    if (typeof value === "object" && !isInOrder(value, rank)) return false
  }
  return true
}

function refuseLossy(this: unknown, key: string, value: unknown): unknown {
  const lossy = typeof value === "number" ? !Number.isFinite(value) : value === undefined && Array.isArray(this)
  if (lossy) throw noJson(value, key)
  return value
}

const noJson = (value: unknown, key: string) =>
  new RangeError(`${String(value)} at ${key === "" ? "the top" : `"${key}"`} has no JSON form`)

/** What JSON would write as something else is refused: it would not come back as it was. */
const sorted = (json: unknown, key = ""): unknown => {
  if (typeof json === "function" || typeof json === "symbol" || typeof json === "bigint") throw noJson(json, key)
  if (typeof json !== "object" || json === null) return json
  if (Array.isArray(json)) return json.map((item, i) => sorted(item, `${key}[${i}]`))
  const prototype = Object.getPrototypeOf(json)
  if ((prototype !== null && prototype !== Object.prototype) || "toJSON" in json) throw noJson(nameOf(json), key)
  return Object.fromEntries(
    Object.entries(json)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => [name, sorted(value, name)])
  )
}

const nameOf = (value: object): string => `a ${value.constructor?.name ?? "value"}`
