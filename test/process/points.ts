import * as fs from "node:fs"
import type { SqlClient } from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import * as Effect from "effect/Effect"

export const say = (line: string) => fs.writeSync(1, `${line}\n`)

/** Places at which a process may be killed. At number `killAt` it prints the place, and waits for that. */
export const makePoints = (killAt: number) => {
  let point = 0

  /** Blocks the whole process at the chosen point until the signal arrives. */
  const pass = (name: string) => {
    if (++point !== killAt) return
    say(`at ${name}`)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  }

  const between = <A, E, R>(name: string, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      pass(`before ${name}`)
      return Effect.tap(self, () => Effect.sync(() => pass(`after ${name}`)))
    })

  return { pass, between, passed: () => point }
}

/** A client with a change around the statements of its reserved connections that pass. */
export const aroundStatements = <C extends SqlClient>(
  client: C,
  isChosen: (sql: string) => boolean,
  around: <A, E, R>(sql: string, self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
): C => {
  const changed =
    <Args extends readonly [sql: string, ...rest: ReadonlyArray<unknown>], A, E>(
      run: (...args: Args) => Effect.Effect<A, E>
    ) =>
    (...args: Args) =>
      isChosen(args[0]) ? around(args[0], run(...args)) : run(...args)
  const proxied = (connection: Connection): Connection =>
    new Proxy(connection, {
      get: (target, name) => {
        if (name === "execute") return changed(target.execute.bind(target))
        if (name === "executeRaw") return changed(target.executeRaw.bind(target))
        if (name === "executeUnprepared") return changed(target.executeUnprepared.bind(target))
        return Reflect.get(target, name)
      }
    })
  const reserve: SqlClient["reserve"] = Effect.map(client.reserve, proxied)
  return new Proxy(client, { get: (target, name) => (name === "reserve" ? reserve : Reflect.get(target, name)) })
}
