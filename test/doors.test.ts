import * as fs from "node:fs"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { run } from "./cli/support.js"
import { temporaryFolder } from "./support/files.js"

const {
  exports
}: { readonly exports: Readonly<Record<string, { readonly node?: string; readonly default: string }>> } = JSON.parse(
  fs.readFileSync("package.json", "utf8")
)

/** Where each door lies: for Node, and for bundlers. */
const doors = Object.entries(exports).flatMap(([name, { default: module, node }]) =>
  node === undefined ? [] : [{ name: name.replace(/^\./, "effect-recovery"), node, module }]
)

/** Runs a program that imports the package by its name, as it is built. */
const printed = (program: string, env: NodeJS.ProcessEnv = process.env) =>
  Effect.map(run(process.execPath, ["--input-type=module", "--eval", program], { env }), ({ code, stderr, stdout }) => {
    assert.strictEqual(code, 0, stderr)
    return stdout
  })

describe("the doors on Node", () => {
  it.live("export what their modules export", () =>
    Effect.gen(function* () {
      assert.isAbove(doors.length, 10)
      const pairs = doors.map(({ module, name }) => [name, pathToFileURL(path.resolve(module)).href])
      const output = yield* printed(`
        const namesIn = (door) => Object.entries(door).map(([name, value]) => [name, Object.keys(value).sort()]).sort()
        const all = []
        for (const [door, module] of ${JSON.stringify(pairs)}) {
          all.push([door, namesIn(await import(door)), namesIn(await import(module)), import.meta.resolve(door)])
        }
        console.log(JSON.stringify(all))
      `)
      for (const [door, names, expected, url] of JSON.parse(output)) {
        assert.include(url, "/dist/node/", door)
        assert.isAbove(names.length, 0, door)
        assert.deepStrictEqual(names, expected, door)
      }
    })
  )

  it.live("share their classes, services and functions, as their modules do", () =>
    Effect.gen(function* () {
      const pairs = doors.map(({ module, name }) => [name, pathToFileURL(path.resolve(module)).href])
      const output = yield* printed(`
        const valuesIn = (door) => Object.entries(door).flatMap(([name, value]) =>
          [[name, value], ...Object.entries(value).map(([inner, value]) => [name + "." + inner, value])])
        const counterparts = new Map()
        const differing = []
        for (const [door, module] of ${JSON.stringify(pairs)}) {
          const own = new Map(valuesIn(await import(door)))
          for (const [name, value] of valuesIn(await import(module))) {
            if (typeof value !== "function") continue
            if (!counterparts.has(value)) counterparts.set(value, own.get(name))
            if (counterparts.get(value) !== own.get(name)) differing.push(door + " " + name)
          }
        }
        console.log(JSON.stringify({ differing, compared: counterparts.size }))
      `)
      const { compared, differing } = JSON.parse(output)
      assert.isAbove(compared, 300)
      assert.deepStrictEqual(differing, [])
    })
  )

  it.scopedLive("read few files, since Node resolves and reads each of them", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* printed(`await import("effect-recovery")`, { ...process.env, NODE_V8_COVERAGE: folder })
      const dist = pathToFileURL(path.resolve("dist")).href
      const urls = fs
        .readdirSync(folder)
        .flatMap(
          (file): ReadonlyArray<{ readonly url: string }> =>
            JSON.parse(fs.readFileSync(path.join(folder, file), "utf8")).result
        )
        .flatMap(({ url }) => (url.startsWith(dist) ? [url] : []))
      assert.isAbove(urls.length, 0)
      assert.isAtMost(urls.length, 15)
    })
  )

  it.live("find the files of the dashboard's page", () =>
    Effect.gen(function* () {
      const output = yield* printed(`
        import { createServer } from "node:http"
        import { NodeHttpServer } from "@effect/platform-node"
        import { Effect, Layer } from "effect"
        import { Storage } from "effect-recovery"
        import { Dashboard } from "effect-recovery/dashboard"
        import { Operator } from "effect-recovery/operate"
        const operator = Operator.define({ storage: Storage.layerMemory, workflows: [] })()
        const server = NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })
        const program = Effect.flatMap(Dashboard.Dashboard, ({ url }) => Effect.promise(async () => {
          const statuses = []
          for (const file of ["/", "/page.js", "/page.css", "/icon.svg"]) {
            const response = await fetch(url + file)
            statuses.push(response.status, (await response.arrayBuffer()).byteLength > 0)
          }
          console.log(statuses.join(" "))
        }))
        await Effect.runPromise(Effect.provide(program, Layer.provide(Dashboard.layerOperator(operator), server)))
      `)
      assert.strictEqual(output.trim(), "200 true 200 true 200 true 200 true")
    })
  )
})
