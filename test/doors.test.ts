import * as fs from "node:fs"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { build } from "esbuild"
import { run } from "./cli/support.js"
import { temporaryFolder } from "./support/files.js"

/** A door, with where its modules lie for bundlers, unless it needs Node. */
interface Door {
  readonly name: string
  readonly module: string | undefined
}

const {
  exports
}: { readonly exports: Readonly<Record<string, { readonly node?: string; readonly default?: string }>> } = JSON.parse(
  fs.readFileSync("package.json", "utf8")
)

const doors = Object.entries(exports).flatMap(([path, { default: module, node }]): ReadonlyArray<Door> => {
  return node === undefined || path.includes("*") ? [] : [{ name: path.replace(/^\./, "effect-recovery"), module }]
})

/** The paths of single modules, as `effect-recovery/Step`. */
const modulePaths = fs
  .readdirSync("dist/modules")
  .filter((file) => file.endsWith(".js"))
  .map((file) => ({ name: `effect-recovery/${path.basename(file, ".js")}`, module: `dist/modules/${file}` }))

/** Each name with the address of its modules for bundlers. */
const pairs = [...doors, ...modulePaths].flatMap(({ module, name }) =>
  module === undefined ? [] : [[name, pathToFileURL(path.resolve(module)).href]]
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
      assert.isAbove(pairs.length, 30)
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

  it.live("give each module of the main door a path of its own", () =>
    Effect.gen(function* () {
      const output = yield* printed(`
        import * as main from "effect-recovery"
        const differing = []
        for (const [name, members] of Object.entries(main)) {
          const alone = await import("effect-recovery/" + name)
          for (const member of new Set([...Object.keys(members), ...Object.keys(alone)])) {
            if (alone[member] !== members[member]) differing.push(name + "." + member)
          }
        }
        console.log(JSON.stringify({ names: Object.keys(main), differing }))
      `)
      const { differing, names } = JSON.parse(output)
      assert.deepStrictEqual(
        names.map((name: string) => `effect-recovery/${name}`).sort(),
        modulePaths.map(({ name }) => name).sort()
      )
      assert.deepStrictEqual(differing, [])
    })
  )

  it("are refused by bundlers for browsers if they need Node, so that no program gets a class twice", async () => {
    const refused = await Promise.all(
      doors.map(async ({ name }) => {
        const { errors } = await build({
          stdin: { contents: `import "${name}"`, resolveDir: "." },
          tsconfigRaw: {},
          bundle: true,
          platform: "browser",
          external: ["@effect/*"],
          logLevel: "silent",
          write: false
        }).catch((failure: { readonly errors: ReadonlyArray<{ readonly text: string }> }) => failure)
        return errors.some(({ text }) => text.includes(`Could not resolve "${name}"`)) ? [name] : []
      })
    )
    assert.deepStrictEqual(
      refused.flat().sort(),
      ["dashboard", "files", "pg", "sql", "sqlite", "testing"].map((door) => `effect-recovery/${door}`)
    )
  })

  it.live("share their classes, services and functions, as their modules do", () =>
    Effect.gen(function* () {
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
