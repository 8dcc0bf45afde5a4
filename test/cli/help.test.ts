import { assert, describe, it } from "@effect/vitest"
import { about } from "../../src/cli/render/overview.js"
import { widthOf } from "../../src/cli/render/width.js"
import { helpOf } from "../../src/cli/words.js"

const groups = {
  checkpoint: ["create", "list", "show", "validate", "delete"],
  schedules: ["list", "pause", "resume", "trigger"]
}

const commands: ReadonlyArray<ReadonlyArray<string>> = [
  ...Object.keys(about).map((name) => [name]),
  ...Object.entries(groups).flatMap(([group, names]) => names.map((name) => [group, name]))
]

const help = (width: number | undefined, ...words: ReadonlyArray<string>): string =>
  helpOf({ width, colour: false }, [...words, "--help"]) ?? ""

describe("the help of a command", () => {
  it("fits the terminal, and has no sentence of the parser", () => {
    for (const words of commands) {
      for (const width of [40, 60, 100]) {
        const lines = help(width, ...words).split("\n")
        assert.match(lines.join(" "), new RegExp(`^recovery ${words.join(" ")} `))
        for (const line of lines) assert.isAtMost(widthOf(line), width, line)
      }
      assert.notMatch(help(undefined, ...words), /user-defined|true or false|This (?:setting|option|argument)/)
    }
  })

  it("shows what is needed in the usage, and choices, defaults and repeats beside the options", () => {
    assert.match(help(undefined, "signal"), /^recovery signal RUN NAME \[JSON\] \[options\]\n\nSend a signal/)
    const initiate = help(undefined, "initiate")
    assert.match(initiate, /^recovery initiate --failure-id TEXT \[options\]\n/)
    assert.match(initiate, /^ {2}--type NAME .* Default: auto\. One of auto, retry, resume, rollback, restart$/m)
    const runs = help(undefined, "runs")
    assert.match(runs, /^ {2}--limit NUMBER +How many at most\. Default: 50$/m)
    assert.match(runs, /^ {2}--label NAME=VALUE .* May be repeated$/m)
    assert.match(runs, /^ {2}--unclaimed {2,}The versions/m)
    assert.match(help(undefined, "exec"), /^ {2}--delay TEXT .* Default: 2s$/m)
  })

  it("lists the commands of a command", () => {
    for (const [group, names] of Object.entries(groups)) {
      for (const name of names) assert.match(help(undefined, group), new RegExp(`^ {2}${name} +[A-Z]`, "m"))
    }
    assert.match(help(undefined, "schedules", "pause"), /^recovery schedules pause SCHEDULE \[options\]/)
  })

  it("is none without the option or the command", () => {
    assert.isUndefined(helpOf({ width: 80, colour: false }, ["runs", "--json"]))
    assert.isUndefined(helpOf({ width: 80, colour: false }, ["runz", "--help"]))
  })
})
