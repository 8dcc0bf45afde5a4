/**
 * What the rows about single calls share: the same work as an effect and as an
 * async function, measured in one fiber, at the Promise boundary, and awaited.
 */
import * as Effect from "effect/Effect"

export const calls = 50_000

/** CPU time, since none of these calls waits: on a busy machine the clock shows what the others do. */
const nanos = async (run) => {
  const before = process.cpuUsage()
  await run()
  const { system, user } = process.cpuUsage(before)
  return ((system + user) * 1_000) / calls
}

/** All calls in one fiber: what it costs in an Effect program. */
export const inFiber = (effect) => {
  const program = Effect.suspend(() => {
    let i = 0
    return Effect.whileLoop({ while: () => i < calls, body: () => effect, step: () => i++ })
  })
  return () => nanos(() => Effect.runPromise(program))
}

/** Each call a program of its own: what it costs in code that knows only promises. */
export const atBoundary = (effect) => awaited(() => Effect.runPromise(effect))

export const awaited = (f) => () =>
  nanos(async () => {
    for (let i = 0; i < calls; i++) await f()
  })

/** The work that is protected: it succeeds at once, one promise later. */
export const work = async () => 1
export const workEffect = Effect.promise(work)

export const added = (ns, name, bare) => ns[name].median - ns[bare].median

/** Rows of the table of one kind of measurement, each with what it adds to the bare work. */
export const rowsOf = (ns, bare, names) => [
  [bare, `${ns[bare].median.toFixed(0)} ns`, ""],
  ...names.map((name) => [name, `${ns[name].median.toFixed(0)} ns`, `+${added(ns, name, bare).toFixed(0)} ns`])
]
