/**
 * Values that are their own JSON. A schema that transforms nothing copies each value part by part, which takes ten times
 * as long as to write its JSON: a result of 1 MB would stop the event loop for longer than anything else does.
 */
import * as Option from "effect/Option"
import * as AST from "effect/SchemaAST"
import { writesItself } from "./CanonicalJson.js"

type Check = (value: unknown) => boolean

/**
 * A check that is true only for values that the schema encodes to, and decodes to, an equal value with its properties in
 * the same order, and that JSON gives back unchanged. It says no where that is not certain. Undefined if the schema may
 * transform a value, or tells its values apart in a way that this check does not know.
 */
export const plainCheck = (ast: AST.AST): Check | undefined => {
  const checks = new Map<AST.AST, Check | undefined>()
  const check = certain(checkOf(ast, checks), checks)
  if (check === undefined) return undefined
  return (value) => {
    try {
      return check(value)
    } catch {
      // A getter, a filter of the program, or a value that contains itself: the schema and JSON say what is wrong.
      return false
    }
  }
}

const unknownPart = undefined

const certain = (check: Check | undefined, checks: Checks): Check | undefined =>
  [...checks.values()].includes(unknownPart) ? undefined : check

type Checks = Map<AST.AST, Check | undefined>

/** Leaves `undefined` in `checks` for a part that has no check. */
const checkOf = (ast: AST.AST, checks: Checks): Check | undefined => {
  if (checks.has(ast)) return checks.get(ast)
  // A recursive schema comes here again before its check is made.
  checks.set(ast, (value) => made?.(value) ?? false)
  const made = makeCheck(ast, checks)
  checks.set(ast, made)
  return made
}

const makeCheck = (ast: AST.AST, checks: Checks): Check | undefined => {
  switch (ast._tag) {
    case "StringKeyword":
      return (value) => typeof value === "string"
    case "NumberKeyword":
      return isWritten
    case "BooleanKeyword":
      return (value) => typeof value === "boolean"
    case "UndefinedKeyword":
    case "VoidKeyword":
      return (value) => value === undefined
    case "Literal":
      return ofLiteral(ast.literal)
    case "Refinement":
      return ofRefinement(ast, checks)
    case "Suspend":
      return ofSuspend(ast, checks)
    case "Union":
      return ofUnion(ast, checks)
    case "TupleType":
      return ofTuple(ast, checks)
    case "TypeLiteral":
      return ast.indexSignatures.length === 0 ? ofStruct(ast, checks) : ofRecord(ast, checks)
    default:
      return unknownPart
  }
}

/** Looked at with its first value: a function that makes a recursive schema makes a new part at each level, without end. */
const ofSuspend = (ast: AST.Suspend, checks: Checks): Check => {
  let part: Check | undefined
  return (value) => {
    part ??= certain(checkOf(ast.f(), checks), checks) ?? (() => false)
    return part(value)
  }
}

/** -0 is written as 0, and what is not finite as null. */
const isWritten = (value: unknown): boolean => Number.isFinite(value) && !Object.is(value, -0)

const ofLiteral = (literal: AST.LiteralValue): Check | undefined => {
  if (typeof literal === "bigint") return unknownPart
  if (typeof literal === "number") return (value) => value === literal && isWritten(value)
  return (value) => value === literal
}

const ofRefinement = (ast: AST.Refinement, checks: Checks): Check | undefined => {
  const from = checkOf(ast.from, checks)
  return from && ((value) => from(value) && Option.isNone(ast.filter(value, AST.defaultParseOption, ast)))
}

/**
 * The first member that accepts a value decides which of its properties are kept. So only one may be an object, a list or a
 * refinement, unless a tag tells all of them apart.
 */
const ofUnion = ({ types }: AST.Union, checks: Checks): Check | undefined => {
  const others = types.filter((type) => !isPrimitive(type))
  // The primitives first, which take least.
  const members = [...types.filter(isPrimitive), ...others].flatMap((type) => checkOf(type, checks) ?? [])
  return members.length < types.length || (others.length > 1 && !areTagged(others))
    ? unknownPart
    : (value) => members.some((member) => member(value))
}

/** Whether all are structs that have a property in common, and each another literal as its type. */
const areTagged = (types: ReadonlyArray<AST.AST>): boolean => {
  const [first, ...more] = types.map(literalsOf)
  return [...(first?.keys() ?? [])].some((name) => {
    const tags = new Set([first?.get(name), ...more.map((literals) => literals.get(name))])
    return !tags.has(undefined) && tags.size === types.length
  })
}

/** The properties of a struct that have one possible value. */
const literalsOf = (type: AST.AST): ReadonlyMap<PropertyKey, AST.LiteralValue> =>
  new Map(
    (AST.isTypeLiteral(type) ? type.propertySignatures : []).flatMap(({ isOptional, name, type }) =>
      !isOptional && AST.isLiteral(type) ? [[name, type.literal]] : []
    )
  )

const isPrimitive = ({ _tag }: AST.AST): boolean => _tag.endsWith("Keyword") || _tag === "Literal"

/** Its elements in order, then any number of its rest. JSON has no undefined elements. */
const ofTuple = ({ elements, rest }: AST.TupleType, checks: Checks): Check | undefined => {
  const [more, ...behind] = rest.flatMap(({ type }) => checkOf(type, checks) ?? [])
  const fixed = elements.flatMap(({ isOptional, type }) => (isOptional ? [] : (checkOf(type, checks) ?? [])))
  if (fixed.length < elements.length || behind.length > 0 || rest.length > 1) return unknownPart
  return (value) => {
    if (!Array.isArray(value) || Object.getPrototypeOf(value) !== Array.prototype || writesItself(value)) return false
    if (more === undefined ? value.length !== fixed.length : value.length < fixed.length) return false
    for (let i = 0; i < value.length; i++) {
      const check = fixed[i] ?? more
      if (value[i] === undefined || check?.(value[i]) !== true) return false
    }
    return true
  }
}

const isPlainObject = (value: unknown): value is Readonly<Record<string, unknown>> => {
  if (typeof value !== "object" || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return (prototype === Object.prototype || prototype === null) && !writesItself(value)
}

/** All of its properties are of the schema, in the schema's order. */
const ofStruct = ({ propertySignatures }: AST.TypeLiteral, checks: Checks): Check | undefined => {
  const properties = propertySignatures.flatMap(({ isOptional, name, type }) => {
    const check = checkOf(type, checks)
    return check === undefined || typeof name === "symbol" ? [] : [{ check, isOptional, name: String(name) }]
  })
  // A schema without properties accepts everything.
  if (properties.length < Math.max(1, propertySignatures.length)) return unknownPart
  return (value) => {
    if (!isPlainObject(value)) return false
    const keys = Object.keys(value)
    let next = 0
    for (const { check, isOptional, name } of properties) {
      if (keys[next] === name) {
        if (!check(value[name])) return false
        next++
      } else if (!isOptional || Object.hasOwn(value, name)) return false
    }
    return next === keys.length
  }
}

/** Any texts as keys. An assignment loses `__proto__`, and JSON symbols. */
const ofRecord = ({ indexSignatures, propertySignatures }: AST.TypeLiteral, checks: Checks): Check | undefined => {
  const [signature, ...others] = indexSignatures
  const check = signature && checkOf(signature.type, checks)
  const isAnyText = signature !== undefined && AST.isStringKeyword(signature.parameter)
  if (check === undefined || !isAnyText || others.length + propertySignatures.length > 0) return unknownPart
  return (value) =>
    isPlainObject(value) &&
    Object.getOwnPropertySymbols(value).length === 0 &&
    Object.keys(value).every((key) => key !== "__proto__" && value[key] !== undefined && check(value[key]))
}
