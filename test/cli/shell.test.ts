import { spawnSync } from "node:child_process"
import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { ShellCommand } from "../../src/cli/render/shell.js"
import { record } from "../../src/cli/render/terminal.js"

/** The arguments that a shell gives to the program, of each command. */
const argumentsOf = (commands: ReadonlyArray<ShellCommand>): ReadonlyArray<ReadonlyArray<string>> => {
  const script = `recovery() { printf '%s\\0' "$@"; printf '\\0'; }\n${commands.join("\n")}`
  const { status, stderr, stdout } = spawnSync("bash", ["-c", script], { encoding: "utf8" })
  assert.strictEqual(status, 0, stderr)
  return stdout
    .split("\0\0")
    .slice(0, -1)
    .map((all) => all.split("\0"))
}

/** What a name may consist of. */
const names = FastCheck.string({
  minLength: 1,
  maxLength: 8,
  unit: FastCheck.constantFrom(
    ..."ab-=~$`'\"\\ !*#;&|<>(){}[]?%@\n\t\r\u0001\u001b\u0007\u009b\u200f\u202e\u2028é日😀17"
  )
})

describe("a command to copy", () => {
  it("is read by a shell as it was meant, whatever the names in it", () => {
    const given = FastCheck.sample(FastCheck.tuple(names, names), { numRuns: 300, seed: 1 })
    const commands = given.map(([run, id]) => new ShellCommand("signal", [run], [["id", id]]))
    assert.deepStrictEqual(
      argumentsOf(commands),
      given.map(([run, id]) => {
        const settings = id.startsWith("-") ? [`--id=${id}`] : ["--id", id]
        return run.startsWith("-") ? ["signal", ...settings, "--", run] : ["signal", run, ...settings]
      })
    )
    for (const command of commands) assert.match(String(command), /^[^\p{Cc}\p{Bidi_Control}\u2028]+$/u)
  })

  it("stands in one line on a narrow terminal", () => {
    const command = new ShellCommand("resolve", [], [["run-id", "order 2026-11-29"]])
    const shown = record({ width: 30, colour: false }, [
      ["about", "a text that is longer than the line"],
      ["send", command]
    ])
    assert.strictEqual(shown.split("\n").at(-1), `send   ${command}`)
  })
})
