import * as JSONSchema from "effect/JSONSchema"
import * as Predicate from "effect/Predicate"
import type * as Schema from "effect/Schema"

/** In characters of its JSON. A larger one is not recorded, since each wait and each row of a waiting run has it. */
const maxSize = 16_384

/** Each schema is translated once. */
const known = new WeakMap<Schema.Schema.All, { readonly found: unknown }>()

/** The JSON Schema of what a schema decodes from; `undefined` if it has none, such as a schema of class instances. */
export const jsonSchemaOf = (schema: Schema.Schema.All): unknown => {
  const before = known.get(schema)
  if (before !== undefined) return before.found
  const found = translate(schema)
  known.set(schema, { found })
  return found
}

const translate = (schema: Schema.Schema.All): unknown => {
  try {
    const definitions = {}
    const root = JSONSchema.fromAST(schema.ast, { definitions })
    const whole = Object.keys(definitions).length === 0 ? root : { ...root, $defs: definitions }
    return JSON.stringify(whole).length <= maxSize ? whole : undefined
  } catch {
    return undefined
  }
}

/** A node of a JSON Schema. */
type Node = Readonly<Record<string, unknown>>

/** What a check of a value knows: its place in the value, and the definitions of the whole schema. */
interface Place {
  readonly path: string
  readonly definitions: unknown
}

/**
 * Why a value does not fit a JSON Schema; `undefined` if it fits. Follows the keywords
 * that `effect/JSONSchema` writes. It never refuses what the schema itself decodes, so
 * keys that the schema does not name are ignored, and so are unknown keywords.
 */
export const problemOf = (schema: unknown, value: unknown): string | undefined =>
  check(schema, value, { path: "", definitions: Predicate.isReadonlyRecord(schema) ? schema["$defs"] : undefined })

const isList = (value: unknown): value is ReadonlyArray<unknown> => Array.isArray(value)

const first = <A>(all: Iterable<A>, problem: (item: A) => string | undefined): string | undefined => {
  for (const item of all) {
    const found = problem(item)
    if (found !== undefined) return found
  }
  return undefined
}

const inside = ({ definitions, path }: Place, key: string | number): Place => ({
  path: typeof key === "number" ? `${path}[${key}]` : path === "" ? key : `${path}.${key}`,
  definitions
})

/** The ids that Effect gives to the schemas of values without a structure. */
const acceptAll: ReadonlyArray<unknown> = ["/schemas/any", "/schemas/unknown", "/schemas/void"]
const emptyStruct = "/schemas/%7B%7D"

const check = (schema: unknown, value: unknown, place: Place): string | undefined => {
  if (!Predicate.isReadonlyRecord(schema)) return undefined
  const { $id, $ref } = schema
  if (acceptAll.includes($id)) return undefined
  if (value === undefined) return "a value is missing"
  if ($id === emptyStruct) return value === null ? expected("a value other than null", value, place) : undefined
  if (typeof $ref === "string") return checkReference($ref, value, place)
  return (
    checkShape(schema, value, place) ??
    checkAlternatives(schema, value, place) ??
    (isList(schema["allOf"]) ? first(schema["allOf"], (one) => check(one, value, place)) : undefined)
  )
}

const checkReference = (reference: string, value: unknown, place: Place): string | undefined => {
  const id = reference.slice("#/$defs/".length)
  const { definitions } = place
  return Predicate.isReadonlyRecord(definitions) && Object.hasOwn(definitions, id)
    ? check(definitions[id], value, place)
    : undefined
}

const checkAlternatives = (schema: Node, value: unknown, place: Place): string | undefined => {
  if ("not" in schema) return expected("no value", value, place)
  const all = schema["anyOf"] ?? schema["oneOf"]
  if (!isList(all)) return undefined
  const problems = all.map((one) => check(one, value, place))
  if (problems.includes(undefined)) return undefined
  const [only] = problems
  return problems.length === 1 ? only : expected(`one of ${all.length} alternatives`, value, place)
}

const checkShape = (schema: Node, value: unknown, place: Place): string | undefined => {
  const { enum: values, type } = schema
  if (isList(values) && !values.includes(value)) {
    return expected(values.map((one) => JSON.stringify(one)).join(" or "), value, place)
  }
  if ("const" in schema && schema["const"] !== value) return expected(JSON.stringify(schema["const"]), value, place)
  const types = typeof type === "string" ? [type] : isList(type) ? type : undefined
  if (types !== undefined && !types.some((one) => isOfType(one, value))) {
    return expected(types.join(" or "), value, place)
  }
  if (typeof value === "string") return checkText(schema, value, place)
  if (typeof value === "number") return checkNumber(schema, value, place)
  if (isList(value)) return checkList(schema, value, place)
  return Predicate.isReadonlyRecord(value) ? checkObject(schema, value, place) : undefined
}

const isOfType = (type: unknown, value: unknown): boolean => {
  switch (type) {
    case "null":
      return value === null
    case "array":
      return isList(value)
    case "integer":
      return Number.isInteger(value)
    case "object":
      return Predicate.isReadonlyRecord(value)
    case "string":
    case "number":
    case "boolean":
      return typeof value === type
    default:
      return true
  }
}

/** A bound of the schema, if it has one and the value exceeds it. */
const exceeded = (schema: Node, keyword: string, exceeds: (bound: number) => boolean): number | undefined => {
  const bound = schema[keyword]
  return typeof bound === "number" && exceeds(bound) ? bound : undefined
}

const checkText = (schema: Node, value: string, place: Place): string | undefined => {
  const least = exceeded(schema, "minLength", (bound) => value.length < bound)
  if (least !== undefined) return expected(`at least ${least} characters`, value, place)
  const most = exceeded(schema, "maxLength", (bound) => value.length > bound)
  if (most !== undefined) return expected(`at most ${most} characters`, value, place)
  const { pattern } = schema
  return typeof pattern === "string" && !matches(pattern, value)
    ? expected(`text that matches ${pattern}`, value, place)
    : undefined
}

/** The schema does not tell the flags of its pattern, so all that let it match more are tried. */
const matches = (pattern: string, value: string): boolean => {
  const tried = ["ims", "imsu"].map((flags) => {
    try {
      return new RegExp(pattern, flags).test(value)
    } catch {
      return undefined
    }
  })
  return tried.includes(true) || !tried.includes(false)
}

const checkNumber = (schema: Node, value: number, place: Place): string | undefined => {
  const bounds = [
    ["at least", "minimum", (bound: number) => value < bound],
    ["greater than", "exclusiveMinimum", (bound: number) => value <= bound],
    ["at most", "maximum", (bound: number) => value > bound],
    ["less than", "exclusiveMaximum", (bound: number) => value >= bound]
  ] as const
  return first(bounds, ([words, keyword, exceeds]) => {
    const bound = exceeded(schema, keyword, exceeds)
    return bound === undefined ? undefined : expected(`a number ${words} ${bound}`, value, place)
  })
}

const checkList = (schema: Node, value: ReadonlyArray<unknown>, place: Place): string | undefined => {
  const { additionalItems, items } = schema
  const least = exceeded(schema, "minItems", (bound) => value.length < bound)
  if (least !== undefined) return expected(`at least ${least} items`, value, place)
  const most = exceeded(schema, "maxItems", (bound) => value.length > bound)
  if (most !== undefined) return expected(`at most ${most} items`, value, place)
  if (isList(items) && additionalItems === false && value.length > items.length) {
    return expected(`at most ${items.length} items`, value, place)
  }
  return first(value.entries(), ([i, item]) =>
    check(isList(items) ? (items[i] ?? additionalItems) : items, item, inside(place, i))
  )
}

const checkObject = (schema: Node, value: Node, place: Place): string | undefined => {
  const { additionalProperties, patternProperties, propertyNames, required } = schema
  const properties = Predicate.isReadonlyRecord(schema["properties"]) ? schema["properties"] : {}
  const missing = isList(required)
    ? required.find((name) => typeof name === "string" && !Object.hasOwn(value, name))
    : undefined
  if (missing !== undefined) return `${JSON.stringify(missing)} is missing${at(place)}`
  const others = Predicate.isReadonlyRecord(patternProperties) ? patternProperties[""] : additionalProperties
  return first(Object.entries(value), ([name, item]) => {
    if (Object.hasOwn(properties, name)) return check(properties[name], item, inside(place, name))
    // Which keys the schema names is not certain, since it tells no flags of a pattern.
    return propertyNames === undefined ? check(others, item, inside(place, name)) : undefined
  })
}

const at = ({ path }: Place): string => (path === "" ? "" : ` in ${path}`)

/** The longest part of a value that a message shows. */
const shownLength = 80

const expected = (what: string, value: unknown, { path }: Place): string => {
  const text = JSON.stringify(value)
  const shown = text.length > shownLength ? `${text.slice(0, shownLength)}…` : text
  return `expected ${what}${path === "" ? "" : ` at ${path}`}, found ${shown}`
}
