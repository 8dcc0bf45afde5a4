import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { binary, home, run } from "./support.js"

/** Mistakes of a user, with the exit code that the documentation gives them. */
const mistakes: ReadonlyArray<readonly [code: number, tag: string, ...args: ReadonlyArray<string>]> = [
  [2, "Usage", "no-such-command"],
  [2, "Usage"],
  [2, "Usage", "initiate"],
  [2, "Usage", "initiate", "--failure-id", "x", "--type", "explode"],
  [2, "Usage", "runs", "--limit", "many"],
  [2, "Usage", "runs", "--limit", "0"],
  [2, "Usage", "runs", "--limit", "1001"],
  [2, "Usage", "runs", "--no-such-option"],
  [2, "Usage", "runs", "one", "two"],
  [2, "Usage", "exec", "--retries=-1"],
  [2, "Usage", "dashboard", "--web", "--watch"],
  [2, "Usage", "dashboard", "--web", "--port", "65536"],
  [2, "Usage", "dashboard", "--web", "--port", "99999999999"],
  [2, "Usage", "dashboard", "--web", "--port=-1"],
  [2, "Usage", "dashboard", "--web", "--host", ""],
  [2, "Usage", "dashboard", "--web", "--host", "  "],
  [4, "CannotListen", "dashboard", "--web", "--host", "192.0.2.1"],
  [2, "Usage", "report", "--log", "/no/such/log"],
  [2, "Usage", "report", "--log", "/"],
  [2, "Usage", "cleanup", "--older-than", "soon"],
  [2, "Usage", "stats", "--since", "yesterday"],
  [2, "Usage", "resolve"],
  [2, "Usage", "runs", "--database", ""],
  [2, "Usage", "copy", "--from", "a.db"],
  [2, "Usage", "copy", "--from", "", "--to", "b.db"],
  [2, "Usage", "copy", "--from", ":memory:", "--to", "b.db"],
  [2, "Usage", "copy", "--from", "a.db", "--to", "mysql://server/b"],
  [2, "Usage", "copy", "--from", "a.db", "--to", "postgres://server:port/b"],
  [2, "Usage", "copy", "--from", "recovery.config.ts", "--to", "b.db"],
  [2, "Usage", "copy", "--from", "a.db", "--to", "b.db", "--to-prefix", "a b"],
  [2, "Usage", "copy", "--from", "a.db", "--to", "b.db", "--to-schema", "public"],
  [2, "Usage", "copy", "--from", "/no/such/a.db", "--to", "b.db"],
  [2, "SameStorage", "copy", "--from", "a.db", "--to", "./a.db"],
  [5, "StorageError", "runs", "--database", "/"],
  [6, "Config", "runs", "--config", "/no/such/config.mjs"],
  [3, "RunNotFound", "runs", "no-such-run"]
]

/** The one JSON document on a stream. */
const onlyJson = (text: string): { readonly error: { readonly tag: string; readonly message: string } } => {
  assert.match(text, /^[^\n]+\n$/, "one line")
  return JSON.parse(text)
}

describe("errors of the command line", () => {
  it.scopedLive("say where the options of a command are listed", () =>
    Effect.gen(function* () {
      const { recovery } = yield* home
      const given = yield* recovery(["runs", "--no-such-option"])
      assert.include(given.stderr, "'--no-such-option' is not known")
      assert.include(given.stderr, "Add --help")
    })
  )

  it.scopedLive("and replies show what was given without characters that act on a terminal", () =>
    Effect.gen(function* () {
      const { recovery } = yield* home
      const name = "\u001b]0;title\u0007\u202e"
      const given = [
        ["runs", "--status", name],
        ["runs", "one", name],
        ["runs", `--${name}`],
        ["report", "--failure-id", name, "--message", "Broken"]
      ]
      for (const args of given) {
        const { stderr, stdout } = yield* recovery(args)
        assert.include(stdout + stderr, "0;title")
        assert.notMatch(stdout + stderr, /(?!\n)[\p{Cc}\p{Bidi_Control}]/u)
      }
      assert.include((yield* recovery(["failures", name, "--json"])).stdout, JSON.stringify(name))
    })
  )

  it.scopedLive("name the option whose value is no choice, and the choices", () =>
    Effect.gen(function* () {
      const { recovery } = yield* home
      const message =
        '--status must be one of running, held, suspended, stopped, completed, failed, exhausted, cancelled, not "ended".'
      for (const args of [["--status", "ended"], ["--status=ended"]]) {
        const given = yield* recovery(["runs", ...args])
        assert.strictEqual(given.stderr, `recovery: ${message}\n`)
        assert.strictEqual(onlyJson((yield* recovery(["runs", ...args, "--json"])).stderr).error.message, message)
      }
      const kind = yield* recovery(["checkpoint", "create", "--checkpoint-type", "auto", "--json"])
      assert.include(kind.stderr, "--checkpoint-type must be one of manual, step, job, workflow")
      const type = yield* recovery(["initiate", "--failure-id", "x", "--type", "explode"])
      assert.match(type.stderr, /^recovery: --type must be one of .*, not "explode"\.$/m)
    })
  )

  it.scopedLive("are one line each, which says what to write", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      const config = path.join(folder, "some.mjs")
      const operate = JSON.stringify(path.resolve("dist/node/operate.js"))
      fs.writeFileSync(
        config,
        `import { Operator } from ${operate}
         export default Operator.define({ storag: undefined })`
      )
      const cases: ReadonlyArray<readonly [message: RegExp, ...args: ReadonlyArray<string>]> = [
        [/^--label must be NAME=VALUE, not "foo"\.$/, "runs", "--label", "foo"],
        [/^--label must be NAME=VALUE, not "=foo"\.$/, "report", "--message", "m", "--label", "a=b", "--label", "=foo"],
        [/^Options stand after the command: recovery COMMAND --database\. /, "--database", "x.db", "runs"],
        [/^There is no command "runz"\. Did you mean "runs"\?$/, "runz"],
        [/^There is no command "frobnicate"\. recovery --help lists all commands\.$/, "frobnicate"],
        [/^There is no command "checkpoint lst"\. Did you mean "checkpoint list"\?$/, "checkpoint", "lst"],
        [/^There is no command "schedules nope"\. .* are list, pause, resume, trigger\.$/, "schedules", "nope"],
        [/^Missing argument <run>/, "signal"],
        [/^Expected to find option: '--failure-id'/, "initiate"],
        [/Operator\.define has no option "storag"\. Its options are storage, layer, /, "runs", "--config", config]
      ]
      for (const [message, ...args] of cases) {
        const given = yield* recovery(args)
        const [, text] = /^recovery: (\S.*)\n$/.exec(given.stderr) ?? []
        assert.match(text ?? "", message, given.stderr)
        assert.strictEqual(given.stdout, "")
        assert.strictEqual(given.code, args.includes("--config") ? 6 : 2)
      }
    })
  )

  it.scopedLive("have a code of the documentation and a message, never 70, and with --json one JSON document", () =>
    Effect.gen(function* () {
      const { recovery } = yield* home
      for (const [code, tag, ...args] of mistakes) {
        const what = args.join(" ")
        const asJson = yield* recovery([...args, "--json"])
        assert.deepStrictEqual([asJson.code, asJson.stdout], [code, ""], `${what}: ${asJson.stderr}`)
        const { error } = onlyJson(asJson.stderr)
        assert.deepStrictEqual(Object.keys(error), ["tag", "message"])
        assert.strictEqual(error.tag, tag, what)
        assert.match(error.message, /^\S.*\S$/, what)
        // biome-ignore lint/suspicious/noControlCharactersInRegex: styles begin with one
        assert.notMatch(error.message, /\u001b/)
        if (args.length === 0) continue
        const asText = yield* recovery(args)
        assert.strictEqual(asText.code, code, what)
        assert.notStrictEqual(asText.stderr.trim(), "", what)
      }
    })
  )

  it.scopedLive("say that the working folder is gone, and what works without it", () =>
    Effect.gen(function* () {
      const { folder, recovery } = yield* home
      const database = path.join(folder, "some.db")
      assert.strictEqual((yield* recovery(["report", "--message", "m", "--database", database])).code, 0)
      const inGone = (...args: ReadonlyArray<string>) => {
        const gone = path.join(folder, "gone")
        fs.mkdirSync(gone)
        const script = `cd "$0" && rmdir "$0" && exec "$@"`
        return run("sh", ["-c", script, gone, process.execPath, binary, ...args], {
          env: { ...process.env, HOME: folder, NO_COLOR: "1" }
        })
      }
      for (const args of [["runs"], ["runs", "--config", "some.mjs"], ["runs", "--database", "some.db"]]) {
        const { code, stderr } = yield* inGone(...args, "--json")
        assert.strictEqual(code, 2, stderr)
        assert.strictEqual(onlyJson(stderr).error.tag, "NoWorkingFolder")
      }
      const absolute = yield* inGone("runs", "--database", database, "--json")
      assert.deepStrictEqual([absolute.code, absolute.stdout], [0, "[]\n"], absolute.stderr)
      const relative = yield* inGone("exec", "--database", database, "--backup", "some", "--", "true")
      assert.strictEqual(relative.code, 2, relative.stderr)
      const [file, task] = [path.join(folder, "file"), ["--task", "t", "--retries", "0"]]
      fs.writeFileSync(file, "old")
      const restored = yield* inGone(
        ...["exec", "--database", database, ...task, "--backup", file, "--", "sh", "-c", `echo new > ${file}; exit 3`]
      )
      assert.deepStrictEqual([restored.code, fs.readFileSync(file, "utf8")], [3, "old"], restored.stderr)
      assert.strictEqual((yield* inGone("--help")).code, 0)
    })
  )
})
