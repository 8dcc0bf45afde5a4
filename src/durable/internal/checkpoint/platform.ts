import * as Effect from "effect/Effect"

/** Node's hashing and compression where they exist. Nothing is imported: the main door also loads in browsers. */
interface Builtins {
  readonly crypto:
    | { readonly hash: (algorithm: "sha256", data: string | Uint8Array, encoding: "hex") => string }
    | undefined
  readonly zlib:
    | {
        readonly deflateRawSync: (data: Uint8Array, options: { readonly level: number }) => Uint8Array
        readonly inflateRawSync: (data: Uint8Array) => Uint8Array
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
    crypto: host?.getBuiltinModule?.("node:crypto") as Builtins["crypto"],
    zlib: host?.getBuiltinModule?.("node:zlib") as Builtins["zlib"]
  }
})()

const encoder = new TextEncoder()

export const utf8 = (text: string): Uint8Array<ArrayBuffer> => encoder.encode(text)

/** SHA-256, in hexadecimal. */
export const digest = (text: string | Uint8Array): Effect.Effect<string> =>
  Effect.suspend(() =>
    builtins.crypto === undefined
      ? Effect.map(
          Effect.promise(() => crypto.subtle.digest("SHA-256", typeof text === "string" ? utf8(text) : text.slice())),
          (hash) => [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join("")
        )
      : Effect.succeed(builtins.crypto.hash("sha256", text, "hex"))
  )

/** The lowest level: higher ones cost more time than their smaller output saves. */
const level = 1

export const deflate = (bytes: Uint8Array): Effect.Effect<Uint8Array> =>
  Effect.suspend(() =>
    builtins.zlib === undefined
      ? pipe(bytes, new CompressionStream("deflate-raw"))
      : Effect.succeed(builtins.zlib.deflateRawSync(bytes, { level }))
  )

/** Fails or dies on bytes that are not compressed. */
export const inflate = (bytes: Uint8Array): Effect.Effect<string, unknown> =>
  Effect.suspend(() => {
    const { zlib } = builtins
    return zlib === undefined
      ? pipe(bytes, new DecompressionStream("deflate-raw"))
      : Effect.try(() => zlib.inflateRawSync(bytes))
  }).pipe(Effect.map((text) => new TextDecoder().decode(text)))

const pipe = (bytes: Uint8Array, stream: CompressionStream | DecompressionStream): Effect.Effect<Uint8Array> =>
  Effect.promise(async () => {
    const source = new Blob([bytes.slice()]).stream().pipeThrough(stream)
    return new Uint8Array(await new Response(source).arrayBuffer())
  })
