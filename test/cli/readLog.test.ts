import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { binary, home, run } from "./support.js"

const message = "src/a.py:1:80: flake8 error: E501 line too long"

describe("the log of recovery report", () => {
  it.scopedLive("is read to its end from a file, a pipe and standard input, whatever their sizes say", () =>
    Effect.gen(function* () {
      const { folder } = yield* home
      const log = path.join(folder, "job.log")
      fs.writeFileSync(log, `${"x".repeat(300_000)}\n${message}\n`)
      const report = `"$0" ${binary} report --json --database ${path.join(folder, "some.db")}`
      const ways = {
        file: `${report} --log ${log}`,
        link: `${report} --log ${path.join(folder, "link")}`,
        redirected: `${report} --log /dev/stdin < ${log}`,
        dash: `cat ${log} | ${report} --log -`,
        pipe: `cat ${log} | ${report} --log /dev/stdin`,
        "a pipe by its number": `cat ${log} | ${report} --log /dev/fd/0`,
        substitution: `${report} --log <(cat ${log})`,
        "slow substitution": `${report} --log <(head -c 100 ${log}; sleep 0.2; tail -c 1000 ${log})`,
        "named pipe": `mkfifo ${folder}/fifo; cat ${log} > ${folder}/fifo & ${report} --log ${folder}/fifo`
      }
      fs.symlinkSync(log, path.join(folder, "link"))
      for (const [way, script] of Object.entries(ways)) {
        const { code, stderr, stdout } = yield* run("bash", ["-c", script, process.execPath], {
          env: { ...process.env, HOME: folder }
        })
        assert.strictEqual(code, 0, `${way}: ${stderr}`)
        assert.strictEqual(JSON.parse(stdout).message, message, way)
      }
    })
  )

  it.scopedLive.skipIf(process.platform !== "linux")("is read from files in /proc, whose sizes are 0", () =>
    Effect.gen(function* () {
      const { recovery } = yield* home
      const { code, stderr, stdout } = yield* recovery(["report", "--log", "/proc/self/status", "--json"])
      assert.strictEqual(code, 0, stderr)
      assert.notStrictEqual(JSON.parse(stdout).message, "")
    })
  )
})
