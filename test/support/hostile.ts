const throws = (): never => {
  throw new Error("hostile")
}

const allTraps = Object.fromEntries(
  ["get", "has", "ownKeys", "getPrototypeOf", "getOwnPropertyDescriptor", "isExtensible"].map((trap) => [trap, throws])
)

const cyclic = (): Error => {
  const error: Error & { self?: unknown } = new Error("cyclic")
  error.self = error
  error.cause = { of: error, list: [error] }
  return error
}

const revoked = (target: object): object => {
  const { proxy, revoke } = Proxy.revocable(target, {})
  revoke()
  return proxy
}

const withGetter = (key: string): Error => Object.defineProperty(new Error("getter"), key, { get: throws })

const chain = (length: number): Error => {
  let error = new Error("the end")
  for (let i = 0; i < length; i++) error = new Error(`link ${i}`, { cause: error })
  return error
}

const nested = (depth: number): unknown => {
  let value: unknown = "inside"
  for (let i = 0; i < depth; i++) value = { value }
  return value
}

/** Errors that make careless code throw, loop or grow: each title with the value it makes. */
export const hostileErrors: ReadonlyArray<readonly [string, () => unknown]> = [
  ["no prototype and a bigint", () => Object.assign(Object.create(null), { id: 1n })],
  ["a throwing toString", () => ({ toString: throws })],
  ["a toString that returns an object", () => ({ toString: () => ({}), valueOf: () => ({}) })],
  ["a throwing toJSON", () => ({ toJSON: throws })],
  [
    "a toJSON that returns itself",
    () => {
      const self: { toJSON?: () => unknown } = {}
      self.toJSON = () => self
      return self
    }
  ],
  ["a throwing message", () => withGetter("message")],
  ["a throwing name", () => withGetter("name")],
  ["a throwing stack", () => withGetter("stack")],
  ["a throwing cause", () => withGetter("cause")],
  ["a throwing code", () => withGetter("code")],
  ["a throwing tag", () => Object.defineProperty({}, "_tag", { get: throws })],
  ["a message that is no text", () => Object.assign(new Error("x"), { message: { toString: throws }, name: 1n })],
  ["a symbol", () => Symbol("hostile")],
  ["a bigint", () => 12n],
  ["nothing", () => undefined],
  ["null", () => null],
  ["a function", () => throws],
  ["a cycle", cyclic],
  [
    "a cyclic object",
    () => {
      const value: { self?: unknown } = {}
      value.self = { value }
      return value
    }
  ],
  ["a long chain of causes", () => chain(20_000)],
  ["a deep value", () => nested(20_000)],
  ["a huge message", () => new Error("x".repeat(3_000_000))],
  ["a huge list", () => Array.from({ length: 300_000 }, (_, i) => ({ i }))],
  ["many keys", () => Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`key ${i}`, i]))],
  ["a proxy that throws", () => new Proxy({}, allTraps)],
  ["an error behind a proxy that throws", () => new Proxy(new Error("x"), allTraps)],
  ["a revoked proxy", () => revoked({})],
  ["a revoked list", () => revoked([])],
  ["a date that is none", () => new Date(Number.NaN)]
]
