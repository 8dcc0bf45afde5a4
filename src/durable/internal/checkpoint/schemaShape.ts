import type * as AST from "effect/SchemaAST"
import { sortKeys, toJsonText, writesItself } from "../../../journal/CanonicalJson.js"

/**
 * What a schema says about all of its values. A plain schema encodes values as
 * they are, and its types alone decide what is valid. Its values need no encoding,
 * and no decoding while the digest and the schema match those of the save.
 */
export interface Shape {
  /** Differs between schemas of different structure. Annotations do not count. */
  readonly form: string
  readonly isPlain: boolean
  /** All property names that values can have, in the order they are written; `undefined` if there may be others. */
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

  const notPlain = (form: string) => {
    isPlain = false
    return form
  }

  const all = (nodes: ReadonlyArray<AST.AST>): string => nodes.map(visit).join(",")

  const property = ({ isOptional, name, type }: AST.PropertySignature): string => {
    if (typeof name === "symbol") return notPlain("symbol")
    keys.add(String(name))
    return `${JSON.stringify(name)}${isOptional ? "?" : ""}:${visit(type)}`
  }

  const visit = (node: AST.AST): string => {
    const known = seen.get(node)
    // A recursive schema.
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

/** The canonical JSON text of a value: equal values have one text. Throws at values that JSON would change. */
export const canonicalText = (value: unknown, keys: Keys | undefined): string => {
  if (keys === undefined) return toJsonText(sortKeys(value)) ?? ""
  // A list of keys makes JSON.stringify twice as slow. It is not needed where the properties are in its order already.
  return toJsonText(value, isInOrder(value, keys.rank) ? undefined : keys.inOrder) ?? ""
}

/** Most values have their properties in the order of the schema. */
const isInOrder = (json: unknown, rank: ReadonlyMap<string, number>): boolean => {
  if (typeof json !== "object" || json === null) return true
  if (Array.isArray(json)) {
    for (const item of json) if (typeof item === "object" && !isInOrder(item, rank)) return false
    return true
  }
  if (writesItself(json)) return false
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
