import type * as AST from "effect/SchemaAST"

/**
 * How many suspended parts of a schema are looked at. A function that makes a recursive schema, such as that of a tree of
 * any items, makes a new part at each level, without end.
 */
export const mostSuspended = 100

/** The schemas that a schema consists of. */
export const partsOf = (ast: AST.AST): ReadonlyArray<AST.AST> => {
  switch (ast._tag) {
    case "TypeLiteral":
      return [...ast.propertySignatures, ...ast.indexSignatures].map(({ type }) => type)
    case "TupleType":
      return [...ast.elements, ...ast.rest].map(({ type }) => type)
    case "Union":
      return ast.types
    case "Suspend":
      return [ast.f()]
    case "Refinement":
      return [ast.from]
    case "Transformation":
      return [ast.from, ast.to]
    case "Declaration":
      return ast.typeParameters
    default:
      return []
  }
}

/** Whether this is so of a schema or one of its parts, level by level; `endless` if there are too many to know. */
export const somePart = (
  ast: AST.AST,
  is: (part: AST.AST) => boolean,
  endless: boolean,
  parts: (ast: AST.AST) => ReadonlyArray<AST.AST> = partsOf
): boolean => {
  // The loop comes to those that it adds.
  const all = new Set([ast])
  let suspended = 0
  for (const part of all) {
    if (is(part)) return true
    if (part._tag === "Suspend" && ++suspended > mostSuspended) return endless
    for (const inner of parts(part)) all.add(inner)
  }
  return false
}
