type Schema = Readonly<Record<string, unknown>>

const isSchema = (value: unknown): value is Schema =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** A schema of any value says nothing about it. */
export const isTelling = (schema: unknown): schema is Schema =>
  isSchema(schema) && !["/schemas/any", "/schemas/unknown", "/schemas/void"].includes(String(schema["$id"]))

const empties = { string: "", number: 0, integer: 0, boolean: false, array: [] }

const draftOf = (schema: unknown, definitions: unknown, depth = 0): unknown => {
  if (!isSchema(schema) || depth > 5) return null
  const { $ref, enum: values, properties, required, type } = schema
  if (typeof $ref === "string") {
    const name = $ref.slice("#/$defs/".length)
    return draftOf(isSchema(definitions) ? definitions[name] : undefined, definitions, depth + 1)
  }
  if (Array.isArray(values)) return values[0] as unknown
  if (typeof type === "string" && type in empties) return empties[type as keyof typeof empties]
  if (!isSchema(properties) || !Array.isArray(required)) return null
  return Object.fromEntries(
    required.map((name: unknown) => [name, draftOf(properties[String(name)], definitions, depth + 1)])
  )
}

/** The JSON of a value to begin with, for a JSON Schema: its fields, empty. Undefined if the schema says nothing. */
export const schemaDraft = (schema: unknown): string | undefined =>
  isTelling(schema) ? JSON.stringify(draftOf(schema, schema["$defs"])) : undefined
