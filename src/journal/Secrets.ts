/**
 * Secrets in values of a journal. A schema says which parts of its values are
 * `Redacted`. A resume needs them, so they are written, with their paths beside
 * the value: a reader without the schema can hide them.
 */
import * as AST from "effect/SchemaAST"
import { type Json, read, safely } from "../resilience/Foreign.js"
import { mark } from "../resilience/Redaction.js"
import { partsOf, somePart } from "./SchemaParts.js"

const pathsKey = "~secrets"
const valueKey = "~value"

type Path = ReadonlyArray<string | number>

// ---- by the schema

/** Such as `Schema.RedactedFromSelf`, to which `Schema.Redacted` transforms. */
const isRedacted = (ast: AST.AST): boolean => {
  const constructor = ast.annotations[AST.TypeConstructorAnnotationId]
  return (
    typeof constructor === "object" && constructor !== null && Reflect.get(constructor, "_tag") === "effect/Redacted"
  )
}

const known = new WeakMap<AST.AST, boolean>()

/** Whether values of a schema have parts that are `Redacted`. */
export const holdsSecrets = (ast: AST.AST): boolean => {
  const found = known.get(ast)
  if (found !== undefined) return found
  const holds = somePart(ast, isRedacted, false)
  known.set(ast, holds)
  return holds
}

/** The paths of the secrets in the encoded form of a value. Where a schema admits several forms, those of all of them. */
const pathsIn = (ast: AST.AST, json: unknown, path: Path): ReadonlyArray<Path> => {
  if (isRedacted(ast)) return [path]
  if (!holdsSecrets(ast)) return []
  switch (ast._tag) {
    case "TypeLiteral":
      return isObject(json) ? Object.keys(json).flatMap((key) => pathsOfProperty(ast, key, json[key], path)) : []
    case "TupleType":
      return Array.isArray(json) ? json.flatMap((item, i) => pathsOfElement(ast, i, item, path)) : []
    case "Transformation":
      // Where the encoded side names no secret, all of it may hold one.
      return holdsSecrets(ast.from) ? pathsIn(ast.from, json, path) : [path]
    case "Declaration":
      return [path]
    default:
      return partsOf(ast).flatMap((part) => pathsIn(part, json, path))
  }
}

const pathsOfProperty = (ast: AST.TypeLiteral, key: string, json: unknown, path: Path): ReadonlyArray<Path> => {
  const property = ast.propertySignatures.find(({ name }) => name === key)
  const types = property === undefined ? ast.indexSignatures.map(({ type }) => type) : [property.type]
  return types.flatMap((type) => pathsIn(type, json, [...path, key]))
}

const pathsOfElement = (ast: AST.TupleType, i: number, json: unknown, path: Path): ReadonlyArray<Path> => {
  const element = ast.elements[i]
  const types = element === undefined ? ast.rest : [element]
  return types.flatMap(({ type }) => pathsIn(type, json, [...path, i]))
}

// ---- in texts

/** The text of a value with the paths of its secrets. */
export const withSecrets = (ast: AST.AST, json: unknown, text: string): string => enclose(pathsIn(ast, json, []), text)

/** The encoded form of a value with the paths of its secrets, to be written within another value. */
export const markSecrets = (ast: AST.AST, json: unknown): unknown =>
  holdsSecrets(ast) ? { [pathsKey]: pathsIn(ast, json, []), [valueKey]: json } : json

/** The text of a value that is a secret as a whole. */
export const asSecret = (text: string): string => enclose([[]], text)

const enclose = (paths: ReadonlyArray<Path>, text: string): string =>
  `{"${pathsKey}":${JSON.stringify(paths)},"${valueKey}":${text}}`

interface Enclosed {
  readonly [pathsKey]: unknown
  readonly [valueKey]: Json
}

const isObject = (json: unknown): json is { readonly [key: string]: unknown } =>
  typeof json === "object" && json !== null && !Array.isArray(json)

const isEnclosed = (json: unknown): json is Enclosed & { readonly [key: string]: Json } =>
  isObject(json) && Object.hasOwn(json, pathsKey) && Object.hasOwn(json, valueKey)

/** The value that was written with the paths of its secrets. */
export const withoutPaths = (json: unknown): unknown => (isEnclosed(json) ? json[valueKey] : json)

/** A text of a journal, in JSON, without the secrets that a schema names. A damaged text is left as it is. */
export const hideSecrets = (text: string): string => {
  if (!text.includes(pathsKey)) return text
  const parsed = safely(() => ({ json: JSON.parse(text) as Json }))
  return parsed === undefined ? text : JSON.stringify(hideIn(parsed.json))
}

/** As {@link hideSecrets}, of JSON that was parsed. Values within values, also those that are texts, lose theirs too. */
export const hideIn = (json: Json): Json => {
  if (typeof json === "string") return hideSecrets(json)
  if (typeof json !== "object" || json === null) return json
  if (Array.isArray(json)) return json.map(hideIn)
  if (!isEnclosed(json)) return Object.fromEntries(Object.entries(json).map(([key, part]) => [key, hideIn(part)]))
  const { [pathsKey]: paths, [valueKey]: value, ...beside } = json
  const hidden = hideIn((Array.isArray(paths) ? paths : [[]]).reduce<Json>(hideAt, value))
  // The faults of a cause stand beside its value.
  return isObject(hidden) ? { ...hidden, ...(hideIn(beside) as object) } : hidden
}

/** Whether one of the secrets of an encoded value is hidden already, so that the value is not what it was. */
export const hasHidden = (text: string): boolean => text.includes(pathsKey) && isHiddenIn(JSON.parse(text) as Json)

const isHiddenIn = (json: Json): boolean => {
  if (typeof json !== "object" || json === null) return false
  if (!isEnclosed(json)) return Object.values(json).some(isHiddenIn)
  const paths = Array.isArray(json[pathsKey]) ? json[pathsKey] : []
  return paths.some((path) => partAt(json[valueKey], path) === mark) || isHiddenIn(json[valueKey])
}

const partAt = (json: Json, path: unknown): unknown =>
  (Array.isArray(path) ? path : []).reduce((part, key) => read(part, key), json)

const hideAt = (json: Json, path: unknown): Json => {
  const [key, ...rest] = Array.isArray(path) ? path : []
  if (key === undefined) return mark
  if (typeof json !== "object" || json === null) return json
  if (Array.isArray(json)) return json.map((item, i) => (i === key ? hideAt(item, rest) : item))
  return Object.fromEntries(
    Object.entries(json).map(([name, part]) => [name, name === key ? hideAt(part, rest) : part])
  )
}
