import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as AST from "effect/SchemaAST"
import { textOf, toCanonicalText, toJsonText, writesItself } from "../../../journal/CanonicalJson.js"
import { lazily } from "../../../journal/JournalCodec.js"
import { mostSuspended } from "../../../journal/SchemaParts.js"
import type { FullSnapshot, Service } from "../../../storage/Storage.js"
import { thenAtOnce } from "./atOnce.js"

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
  let suspended = 0

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
        if (++suspended <= mostSuspended) return visit(node.f())
        isClosed = false
        return notPlain("endless")
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
  if (keys === undefined) return toCanonicalText(value) ?? ""
  // A list of keys makes JSON.stringify twice as slow. It is not needed where the properties are in its order already.
  return (isCanonical(value, keys.rank) ? textOf(value) : toJsonText(value, keys.inOrder)) ?? ""
}

/** Whether JSON writes the value as it is, its properties in the order of the schema: most are like that. One pass. */
const isCanonical = (value: unknown, rank: ReadonlyMap<string, number>): boolean => {
  try {
    return isWritten(value, rank)
  } catch {
    // A value that contains itself, or a getter that throws: `toJsonText` says so.
    return false
  }
}

const isWritten = (value: unknown, rank: ReadonlyMap<string, number>): boolean => {
  switch (typeof value) {
    case "string":
    case "boolean":
    case "undefined":
      return true
    case "number":
      return Number.isFinite(value) && !Object.is(value, -0)
    case "object":
      if (value === null) return true
      return Array.isArray(value) ? isWrittenList(value, rank) : isWrittenObject(value, rank)
    default:
      return false
  }
}

const isWrittenList = (items: ReadonlyArray<unknown>, rank: ReadonlyMap<string, number>): boolean => {
  for (let i = 0; i < items.length; i++) {
    if (items[i] === undefined || !isWritten(items[i], rank)) return false
  }
  return true
}

const isWrittenObject = (value: object, rank: ReadonlyMap<string, number>): boolean => {
  const prototype = Object.getPrototypeOf(value)
  if ((prototype !== Object.prototype && prototype !== null) || writesItself(value)) return false
  let last = -1
  for (const key in value) {
    const at = rank.get(key)
    if (at === undefined || at <= last) return false
    last = at
    if (!isWritten((value as Readonly<Record<string, unknown>>)[key], rank)) return false
  }
  return true
}

/** An encoded state: JSON text, or the bytes of a state that is encoded as a `Uint8Array`. */
export type Content = string | Uint8Array

/** A state as it is stored. */
export type Written = Pick<FullSnapshot, "state" | "size" | "digest" | "encoding" | "schema" | "version">

/** Encodes and decodes the states of one checkpoint. Built once. */
export interface StateCodec {
  readonly version: number
  /** Call it where the effect is to run: it encodes at once what it can. */
  readonly encode: (state: unknown) => Effect.Effect<Written, unknown, unknown>
  /** The digest of the content must have been verified. */
  readonly decode: (
    content: Content,
    written: Pick<Written, "schema" | "version">
  ) => Effect.Effect<unknown, unknown, unknown>
}

/** Turns a state of one version into one of the next. */
export interface Migration {
  readonly from: Schema.Schema.All
  readonly to: Schema.Schema.All
  readonly migrate: (state: never) => unknown
}

export interface CodecOptions {
  readonly schema: Schema.Schema.All
  readonly version: number
  readonly migrations: Readonly<Record<number, Migration>>
  /** Bytes above which a state is compressed. */
  readonly compressAbove: number
}

type AnySchema = Schema.Schema<unknown, unknown, unknown>

export const makeCodec = ({ compressAbove, migrations, schema, version }: CodecOptions): StateCodec => {
  // `Schema.All` allows `never` as a type parameter. The codec only sees values of this schema.
  const given = schema as AnySchema
  // Computed at the first use: a schema may refer to one that is defined after it.
  let shape: (Shape & { readonly print: string }) | undefined
  const shapeOnce = () => {
    if (shape === undefined) {
      const made = shapeOf(given.ast)
      shape = { ...made, print: fingerprint(`${made.isPlain ? "plain" : "mapped"} ${made.form}`) }
    }
    return shape
  }
  const encodeState = lazily(() => Schema.encode(given))
  const fromJson = lazily(() => Schema.decodeUnknown(given))

  const pack = (content: Content): Effect.Effect<Written> => {
    const { print } = shapeOnce()
    const isText = typeof content === "string"
    const size = isText ? byteLength(content) : content.length
    return thenAtOnce(digest(content), (digest) => {
      // Spelled out, as each save makes one.
      const plain = { state: content, size, digest, encoding: isText ? "json" : "bytes", schema: print, version }
      if (size <= compressAbove) return Effect.succeed(plain)
      return Effect.map(deflate(isText ? utf8(content, size) : content), (state) =>
        state.length < size ? { ...plain, state, encoding: isText ? "deflate" : "bytes+deflate" } : plain
      )
    })
  }

  const write = (encoded: unknown): Effect.Effect<Written, unknown> => {
    try {
      // A copy, because the program may change its bytes while the save waits.
      return pack(encoded instanceof Uint8Array ? new Uint8Array(encoded) : canonicalText(encoded, shapeOnce().keys))
    } catch (cause) {
      return Effect.fail(cause)
    }
  }

  return {
    version,
    encode: (state) => (shapeOnce().isPlain ? write(state) : Effect.flatMap(encodeState(state), write)),
    decode: (content, written) => {
      let json: unknown
      try {
        json = typeof content !== "string" ? content : content === "" ? undefined : JSON.parse(content)
      } catch (cause) {
        return Effect.fail(cause)
      }
      if (written.version !== version) {
        return Effect.flatMap(migrate(json, written.version, version, migrations), fromJson)
      }
      // The same plain schema wrote it, and the digest shows no change, so it needs no validation.
      return shapeOnce().isPlain && written.schema === shapeOnce().print ? Effect.succeed(json) : fromJson(json)
    }
  }
}

/**
 * Distinguishes the forms of one checkpoint's schema, so it need not be
 * cryptographic. FNV-1a with two seeds: http://www.isthe.com/chongo/tech/comp/fnv/
 */
const fingerprint = (form: string): string =>
  [0x811c9dc5, 0x01000193]
    .map((seed) => {
      let hash = seed
      for (let i = 0; i < form.length; i++) hash = Math.imul(hash ^ form.charCodeAt(i), 0x01000193)
      return (hash >>> 0).toString(16).padStart(8, "0")
    })
    .join("")

/** The state was saved by a version that the checkpoint cannot migrate from. */
export class NoMigration extends Error {
  readonly _tag = "NoMigration"
}

const migrate = (
  json: unknown,
  from: number,
  to: number,
  migrations: Readonly<Record<number, Migration>>
): Effect.Effect<unknown, unknown, unknown> => {
  if (from === to) return Effect.succeed(json)
  const step = migrations[from]
  if (step === undefined) {
    const why =
      from > to
        ? `it was saved by version ${from}, and this program has version ${to}: use a newer program`
        : `there is no migration from version ${from}: add one to the checkpoint's migrations`
    return Effect.fail(new NoMigration(why))
  }
  return Schema.decodeUnknown(step.from as AnySchema)(json).pipe(
    Effect.flatMap((state) => Effect.try({ try: () => step.migrate(state as never), catch: (cause) => cause })),
    Effect.flatMap(Schema.encode(step.to as AnySchema)),
    Effect.flatMap((next) => migrate(next, from + 1, to, migrations))
  )
}

/** The encoded state of a snapshot. Fails if it is not what was saved. Call it where the effect is to run. */
export const contentOf = ({ digest: expected, encoding, size, state }: FullSnapshot): Effect.Effect<Content, Damaged> =>
  thenAtOnce(unpack(encoding, state, size), (content) =>
    thenAtOnce(digest(content), (actual) =>
      actual === expected
        ? Effect.succeed(content)
        : Effect.fail(new Damaged(`its digest is ${actual.slice(0, 12)}…, not ${expected.slice(0, 12)}…`))
    )
  )

export class Damaged extends Error {
  readonly _tag = "Damaged"
}

const unpack = (encoding: string, state: Content, size: number): Effect.Effect<Content, Damaged> => {
  if (encoding === "json" && typeof state === "string") return Effect.succeed(state)
  if (state instanceof Uint8Array) {
    if (encoding === "bytes") return Effect.succeed(state)
    const inflated = Effect.mapError(
      inflate(state, size),
      (cause) => new Damaged("its bytes cannot be read", { cause })
    )
    // A plain array of its own, as it was saved.
    if (encoding === "bytes+deflate") return Effect.map(inflated, (bytes) => new Uint8Array(bytes))
    if (encoding === "deflate") return Effect.map(inflated, (bytes) => decoder.decode(bytes))
  }
  return Effect.fail(new Damaged(`this version of effect-recovery cannot read the encoding "${encoding}"`))
}

/** Whether the state of a checkpoint is what was saved. False if the storage fails. */
export const isIntact = (storage: Service, id: string): Effect.Effect<boolean> =>
  Effect.orElseSucceed(
    Effect.flatMap(storage.snapshot(Number(id)), (found) =>
      Option.isNone(found) ? Effect.succeed(false) : Effect.as(contentOf(found.value), true)
    ),
    () => false
  )

/** Node's hashing and compression where they exist. Nothing is imported: the main door also loads in browsers. */
interface Builtins {
  readonly buffer:
    | {
        readonly Buffer: {
          readonly byteLength: (text: string) => number
          readonly from: (text: string, encoding: "latin1") => Uint8Array<ArrayBuffer>
        }
      }
    | undefined
  readonly crypto:
    | { readonly hash: (algorithm: "sha256", data: string | Uint8Array, encoding: "hex") => string }
    | undefined
  readonly zlib:
    | {
        readonly deflateRawSync: (data: Uint8Array, options: { readonly level: number }) => Uint8Array
        readonly inflateRawSync: (data: Uint8Array, options: { readonly chunkSize: number }) => Uint8Array
      }
    | undefined
}

interface Host {
  readonly getBuiltinModule?: (name: string) => unknown
}

const builtins: Builtins = (() => {
  const host = (globalThis as { readonly process?: Host }).process
  // Node has `getBuiltinModule` and `crypto.hash` since version 20.16.
  return {
    buffer: host?.getBuiltinModule?.("node:buffer") as Builtins["buffer"],
    crypto: host?.getBuiltinModule?.("node:crypto") as Builtins["crypto"],
    zlib: host?.getBuiltinModule?.("node:zlib") as Builtins["zlib"]
  }
})()

const encoder = new TextEncoder()

const decoder = new TextDecoder()

/** A text of as many bytes as characters is ASCII, which need not be encoded but copied. */
const utf8 = (text: string, size?: number): Uint8Array<ArrayBuffer> =>
  size === text.length && builtins.buffer !== undefined
    ? builtins.buffer.Buffer.from(text, "latin1")
    : encoder.encode(text)

/** In UTF-8. */
const byteLength = (text: string): number => builtins.buffer?.Buffer.byteLength(text) ?? utf8(text).length

/** SHA-256, in hexadecimal. */
const digest = (text: string | Uint8Array): Effect.Effect<string> =>
  builtins.crypto === undefined
    ? Effect.map(
        Effect.promise(() => crypto.subtle.digest("SHA-256", typeof text === "string" ? utf8(text) : text.slice())),
        (hash) => [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join("")
      )
    : Effect.succeed(builtins.crypto.hash("sha256", text, "hex"))

/** The lowest level: higher ones cost more time than their smaller output saves. */
const level = 1

const deflate = (bytes: Uint8Array): Effect.Effect<Uint8Array> =>
  Effect.suspend(() =>
    builtins.zlib === undefined
      ? pipe(bytes, new CompressionStream("deflate-raw"))
      : Effect.succeed(builtins.zlib.deflateRawSync(bytes, { level }))
  )

/** Node collects the output in chunks. One chunk for all of it takes half the time of many. */
const chunkSize = (size: number): number => Math.min(Math.max(size, 0) + 64, 2 ** 22)

/** To about `size` bytes. Fails or dies on bytes that are not compressed. */
const inflate = (bytes: Uint8Array, size: number): Effect.Effect<Uint8Array, unknown> =>
  Effect.suspend(() => {
    const { zlib } = builtins
    return zlib === undefined
      ? pipe(bytes, new DecompressionStream("deflate-raw"))
      : Effect.try(() => zlib.inflateRawSync(bytes, { chunkSize: chunkSize(size) }))
  })

const pipe = (bytes: Uint8Array, stream: CompressionStream | DecompressionStream): Effect.Effect<Uint8Array> =>
  Effect.promise(async () => {
    const source = new Blob([bytes.slice()]).stream().pipeThrough(stream)
    return new Uint8Array(await new Response(source).arrayBuffer())
  })
