import * as fs from "node:fs"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as esbuild from "esbuild"
import { temporaryFolder } from "../support/files.js"
import { binary, run } from "./support.js"

/** The folder of the package that a file belongs to. */
const packageOf = (file: string): string | undefined => {
  const parts = file.split("/")
  const at = parts.lastIndexOf("node_modules")
  if (at < 0) return undefined
  return parts.slice(0, at + (parts[at + 1]?.startsWith("@") ? 3 : 2)).join("/")
}

const bundled = async (entry: string): Promise<ReadonlyArray<string>> => {
  const { metafile } = await esbuild.build({
    entryPoints: [entry],
    bundle: true,
    splitting: true,
    outdir: "dist",
    platform: "node",
    format: "esm",
    external: ["better-sqlite3", "fs-native-extensions", "jiti", "pg"],
    write: false,
    metafile: true
  })
  const inputs = Object.values(metafile.outputs).flatMap((output) => Object.entries(output.inputs))
  const included = inputs.filter(([, { bytesInOutput }]) => bytesInOutput > 0)
  return [...new Set(included.flatMap(([file]) => packageOf(file) ?? []))]
}

describe("the bundles", () => {
  it("come with the licence of each package whose code they hold, and of no other", async () => {
    const notices = fs.readFileSync("dist/THIRD-PARTY-NOTICES.txt", "utf8")
    const folders = (await Promise.all(["src/cli/main.ts", "src/dashboard/page/main.ts"].map(bundled))).flat()
    assert.isAbove(folders.length, 10)
    const titles = folders.map((folder) => {
      const { license, name, version } = JSON.parse(fs.readFileSync(path.join(folder, "package.json"), "utf8"))
      const title = `${name} ${version} (${license})`
      assert.include(notices, `${title}\n`)
      const file = fs.readdirSync(folder).find((name) => /^licen[cs]e/i.test(name))
      assert.include(notices, fs.readFileSync(path.join(folder, file ?? ""), "utf8").trim(), title)
      return title
    })
    const listed = notices.match(/^\S+ \d+\.\d+\.\d+\S* \([^)]+\)$/gm)
    assert.deepStrictEqual([...new Set(listed)].sort(), [...new Set(titles)].sort())
  })

  /** The files of the bundle that a command loads. */
  const loadedBy = (...args: ReadonlyArray<string>) =>
    Effect.scoped(
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const { code, stderr } = yield* run(process.execPath, [binary, ...args], {
          env: { ...process.env, HOME: folder, NODE_V8_COVERAGE: folder }
        })
        assert.strictEqual(code, 0, stderr)
        const dist = pathToFileURL(path.dirname(binary)).href
        return fs
          .readdirSync(folder)
          .filter((file) => file.startsWith("coverage-"))
          .flatMap(
            (file): ReadonlyArray<{ readonly url: string }> =>
              JSON.parse(fs.readFileSync(path.join(folder, file), "utf8")).result
          )
          .flatMap(({ url }) => (url.startsWith(dist) ? [fs.readFileSync(new URL(url), "utf8").length] : []))
      })
    )

  it.live("are loaded by need: --help reads nothing but its text", () =>
    Effect.gen(function* () {
      for (const args of [[], ["--help"], ["-h"], ["help"], ["--version"]]) {
        const sizes = yield* loadedBy(...args)
        // A package of Effect alone has more.
        assert.isBelow(
          sizes.reduce((sum, size) => sum + size, 0),
          30_000,
          args.join(" ")
        )
      }
    })
  )
})
