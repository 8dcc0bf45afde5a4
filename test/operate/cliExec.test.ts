import { execFile, execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import Sqlite from "better-sqlite3"
import { afterAll, assert, describe, it } from "vitest"
import { Child, temporaryFolder } from "../support/children.js"

/** As it is published. */
const binary = path.resolve("dist/recovery.mjs")

const folders: Array<string> = []
afterAll(() => {
  for (const folder of folders) fs.rmSync(folder, { recursive: true, force: true })
})

interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

const place = () => {
  const folder = fs.realpathSync(temporaryFolder())
  folders.push(folder)
  const database = path.join(folder, "recovery.db")
  const at = (name: string) => path.join(folder, name)
  const args = (given: ReadonlyArray<string>) =>
    given.includes("--database") ? ["exec", ...given] : ["exec", "--database", database, ...given]
  return {
    folder,
    database,
    at,
    read: (name: string) => fs.readFileSync(at(name), "utf8"),
    write: (name: string, content: string) => fs.writeFileSync(at(name), content),
    exec: (...given: ReadonlyArray<string>) =>
      new Promise<Ended>((resolve) => {
        const child = execFile(process.execPath, [binary, ...args(given)], { cwd: folder }, (_, stdout, stderr) =>
          resolve({ code: child.exitCode ?? -1, stdout, stderr })
        )
      }),
    start: (...given: ReadonlyArray<string>) => new Child(binary, args(given), { cwd: folder }),
    /** Everything in the database. */
    dump: () => {
      const database_ = new Sqlite(database, { readonly: true })
      const tables = database_.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").pluck().all()
      const rows = tables.map((table) => [table, database_.prepare(`SELECT * FROM "${table}"`).all()])
      database_.close()
      return JSON.stringify(rows)
    }
  }
}

const sh = (script: string) => ["--", "sh", "-c", script]

describe("recovery exec --task, whose retries are used up", () => {
  it("is exhausted, which a command without retries is not, and runs again", async () => {
    const { database, exec, folder, read } = place()
    const options = ["--retries", "1", "--delay", "1ms"]
    const statuses = () =>
      new Promise((resolve) => {
        const args = [binary, "runs", "--database", database, "--json"]
        execFile(process.execPath, args, { cwd: folder }, (_, stdout) =>
          resolve(JSON.parse(stdout).map(({ status }: { readonly status: string }) => status))
        )
      })
    assert.strictEqual((await exec("--task", "T", ...options, ...sh("echo x >> log; exit 3"))).code, 3)
    assert.strictEqual((await exec("--task", "U", "--retries", "0", ...sh("exit 3"))).code, 3)
    assert.deepStrictEqual(await statuses(), ["failed", "exhausted"])
    assert.strictEqual((await exec("--task", "T", ...options, ...sh("echo x >> log; exit 3"))).code, 3)
    assert.strictEqual(read("log"), "x\nx\nx\nx\n")
  })
})

describe("recovery exec --task, whose command is mended", () => {
  it("runs a failed task again with another command, and then keeps to it", async () => {
    const { exec, read } = place()
    assert.strictEqual((await exec("--task", "T", "--retries", "0", ...sh("echo broken >> log; exit 3"))).code, 3)
    const mended = await exec("--task", "T", "--retries", "0", ...sh("echo mended >> log"))
    assert.strictEqual(mended.code, 0, mended.stderr)
    const skipped = await exec("--task", "T", ...sh("echo mended >> log"))
    assert.strictEqual(skipped.code, 0)
    assert.match(skipped.stderr, /task "T" is already completed/)
    assert.strictEqual(read("log"), "broken\nmended\n")
  })

  it("runs a killed task again with another command", async () => {
    const { exec, read, start } = place()
    const child = start("--task", "T", ...sh("echo started; exec sleep 1000"))
    await child.line((line) => line === "started")
    child.signal("SIGTERM")
    assert.strictEqual(await child.exited, "SIGTERM")
    assert.strictEqual((await exec("--task", "T", ...sh("echo mended >> log"))).code, 0)
    assert.strictEqual(read("log"), "mended\n")
  })

  it("does not run another command if exec was killed right after the first one had succeeded", async () => {
    const { database, exec, read } = place()
    assert.strictEqual((await exec("--task", "T", ...sh("echo first >> log"))).code, 0)
    const file = new Sqlite(database)
    file.exec("UPDATE recovery_runs SET status = NULL, exit = NULL, finished_at = NULL, outcome_checksum = NULL")
    file.close()
    assert.strictEqual((await exec("--task", "T", ...sh("echo other >> log"))).code, 0)
    assert.strictEqual(read("log"), "first\n")
  })

  it("changes nothing when it refuses", async () => {
    const { at, dump, exec, read, start, write } = place()
    write("file", "old")
    const first = sh("echo first >> log")
    assert.strictEqual((await exec("--task", "done", ...first)).code, 0)
    const backup = ["--backup", "file"]
    const refused = async (code: number, state: () => string, ...args: ReadonlyArray<string>) => {
      const all = () => [state(), fs.readdirSync(at(".")).sort(), fs.statSync(at("file")).ino]
      const before = all()
      const ended = await exec(...args)
      assert.strictEqual(ended.code, code, ended.stderr)
      assert.notMatch(ended.stderr, /run "|inputs?\b|exec\/|resource\//, args.join(" "))
      assert.deepStrictEqual(all(), before)
    }
    await refused(4, dump, "--task", "done", "--again", "run", ...backup, ...sh("echo other >> log"))
    await refused(4, dump, "--task", "done", "--again", "refuse", ...backup, ...first)
    await refused(2, dump, "--task", "", ...sh("true"))
    await refused(2, dump, "--lock", " ", ...sh("true"))
    await refused(2, dump, "--backup", "", ...sh("true"))
    await refused(2, dump, "--task", "x".repeat(5_000), ...sh("true"))
    await refused(2, dump, "--task", "done", "--kill-after", "soon", ...sh("true"))
    const busy = start("--task", "busy", "--lock", "L", ...sh("echo started; read line"))
    await busy.line((line) => line === "started")
    // The running task renews its leases, and counts its steps.
    const still = () => dump().replace(/"lease_until":\d+|\["recovery_counters",\[.*?\]\]/g, "")
    await refused(4, still, "--task", "busy", "--lock-timeout", "1ms", ...backup, ...sh("true"))
    await refused(4, still, "--task", "new", "--lock", "L", "--lock-timeout", "1ms", ...backup, ...sh("true"))
    busy.say("end")
    assert.strictEqual(await busy.exited, 0)
    assert.strictEqual(read("log"), "first\n")
    assert.strictEqual((await exec("--task", "done", "--again", "run", ...first)).code, 0)
    assert.strictEqual(read("log"), "first\nfirst\n")
  })

  it("puts no secret of the arguments on record", async () => {
    const { database, exec } = place()
    const secrets = ["--password=hunter1", "--api-key", "hunter2", "TOKEN=hunter3", "https://ada:hunter4@example.org/x"]
    assert.strictEqual((await exec("--task", "T", "--", "true", ...secrets)).code, 0)
    const all = ["", "-wal"].map((end) => (fs.existsSync(database + end) ? fs.readFileSync(database + end) : ""))
    for (const n of [1, 2, 3, 4]) assert.notInclude(all.join(), `hunter${n}`)
  })
})

describe("recovery exec, when its command ends", () => {
  it("has the exit code of a shell for every signal", async () => {
    const { exec } = place()
    const signals = ["HUP", "INT", "ABRT", "KILL", "SEGV", "PIPE", "USR1"] as const
    for (const signal of signals) {
      const ended = await exec("--retries", "0", ...sh(`ulimit -c 0; kill -${signal} $$`))
      assert.strictEqual(ended.code, 128 + os.constants.signals[`SIG${signal}`], signal)
      assert.match(ended.stderr, new RegExp(`was ended by SIG${signal}`))
    }
  })

  it("does not retry what cannot run", async () => {
    const { at, exec, write } = place()
    write("plain", "not executable")
    for (const [command, code] of [
      ["no-such-command", 127],
      [at("plain"), 126]
    ] as const) {
      const ended = await exec("--", command)
      assert.strictEqual(ended.code, code)
      assert.notMatch(ended.stderr, /attempt/)
    }
    const asked = await exec("--retries", "1", "--delay", "1ms", "--retry-on", "127", ...sh("echo x; exit 127"))
    assert.deepStrictEqual([asked.code, asked.stdout], [127, "x\nx\n"])
  })

  it("ends everything the command started before files are restored or the command is retried", async () => {
    const { at, exec, read, write } = place()
    write("file", "old\n")
    const late = "(trap '' TERM; while :; do echo late >> file; sleep 0.01; done) & echo $! >> pids"
    const options = ["--retries", "1", "--delay", "1ms", "--kill-after", "50ms", "--backup", "file"]
    for (const [end, code] of [
      ["wait", 124],
      ["exit 3", 3]
    ] as const) {
      fs.rmSync(at("pids"), { force: true })
      const ended = await exec(...options, ...(code === 124 ? ["--timeout", "300ms"] : []), ...sh(`${late}; ${end}`))
      assert.strictEqual(ended.code, code, ended.stderr)
      assert.strictEqual(read("file"), "old\n")
      const pids = read("pids").trim().split("\n").map(Number)
      assert.lengthOf(pids, 2)
      for (const pid of pids) assert.isFalse(isAlive(pid), `${pid} lives`)
    }
  })

  it("leaves what a successful command started in the background", async () => {
    const { exec } = place()
    const ended = await exec("--task", "T", ...sh("sleep 1000 > /dev/null 2>&1 & echo $!"))
    assert.strictEqual(ended.code, 0)
    const pid = Number(ended.stdout)
    assert.isTrue(isAlive(pid))
    // It is no orphan of a killed exec.
    assert.strictEqual((await exec("--lock", "T", "--lock-timeout", "1ms", "--", "true")).code, 0)
    process.kill(pid, "SIGKILL")
  })
})

describe("recovery exec --backup", () => {
  it("keeps the old content beside each file, not in a folder above all of them", async () => {
    const { at, exec, read, write } = place()
    for (const folder of ["a", "b"]) fs.mkdirSync(at(folder))
    write("a/file", "old")
    write("b/file", "old")
    const script = "echo new > a/file; echo new > b/file; ls -A . a b; exit 1"
    const options = ["--retries", "0", "--backup", "a/file", "--backup", "b/file"]
    const { stdout } = await exec(...options, ...sh(script))
    const [top, ...folders] = stdout.split("\n\n")
    assert.notInclude(top, ".file-transaction")
    for (const folder of folders) assert.include(folder, ".file-transaction")
    assert.deepStrictEqual([read("a/file"), read("b/file")], ["old", "old"])
    assert.deepStrictEqual([fs.readdirSync(at("a")), fs.readdirSync(at("b"))], [["file"], ["file"]])
  })

  it("lets commands with other files of one folder run at once, and not with the same", async () => {
    const { exec, read, start, write } = place()
    write("a", "old")
    write("b", "old")
    const first = start(
      "--task",
      "A",
      "--retries",
      "0",
      "--backup",
      "a",
      ...sh("echo new > a; echo started; read line; exit 1")
    )
    await first.line((line) => line === "started")
    assert.strictEqual((await exec("--task", "B", "--backup", "b", ...sh("echo new > b"))).code, 0)
    const refused = await exec("--task", "C", "--backup", "b", "--backup", "a", "--lock-timeout", "1ms", ...sh("true"))
    assert.strictEqual(refused.code, 4, refused.stderr)
    assert.match(refused.stderr, /\/a is changed by process \d+/)
    first.say("end")
    assert.strictEqual(await first.exited, 1)
    assert.deepStrictEqual([read("a"), read("b")], ["old", "new\n"])
  })

  it("waits for a command with the same file under another database", async () => {
    const { at, exec, read, start, write } = place()
    write("file", "old")
    const script = "echo new > file; echo started; read line; exit 1"
    const first = start("--retries", "0", "--backup", "file", ...sh(script))
    await first.line((line) => line === "started")
    const other = ["--database", at("other.db"), "--backup", "file"]
    const refused = await exec(...other, "--lock-timeout", "1ms", ...sh("echo ran"))
    assert.deepStrictEqual([refused.code, refused.stdout], [4, ""])
    assert.match(refused.stderr, new RegExp(`/file is changed by process ${first.pid} `))
    assert.strictEqual(read("file"), "new\n")
    const waiting = exec(...other, ...sh("cat file"))
    first.say("end")
    assert.strictEqual(await first.exited, 1)
    assert.deepStrictEqual([(await waiting).stdout, read("file")], ["old", "old"])
  })

  it("puts back a symbolic link that was replaced, and what it leads to in another folder", async () => {
    const { at, exec, read, write } = place()
    for (const folder of ["a", "b"]) fs.mkdirSync(at(folder))
    write("b/target", "old")
    fs.symlinkSync("../b/target", at("a/link"))
    const script = "echo new > a/link; rm a/link; echo other > a/link; exit 1"
    assert.strictEqual((await exec("--retries", "0", "--backup", "a/link", ...sh(script))).code, 1)
    assert.strictEqual(fs.readlinkSync(at("a/link")), "../b/target")
    assert.strictEqual(read("b/target"), "old")
  })

  it.skipIf(process.platform !== "linux")(
    "refuses a link to another file system in terms of files and options",
    async () => {
      const { at, exec } = place()
      fs.symlinkSync("/proc/self/comm", at("link"))
      const refused = await exec("--backup", "link", ...sh("echo ran"))
      assert.deepStrictEqual([refused.code, refused.stdout], [4, ""])
      assert.match(refused.stderr, /cannot be restored if the command fails.*--backup/)
      assert.notMatch(refused.stderr, /root/)
    }
  )

  it("restores a file that has two names under both", async () => {
    const { at, exec, read, write } = place()
    write("file", "old")
    fs.linkSync(at("file"), at("other"))
    for (const script of ["echo new > file", "rm file; echo new > file"]) {
      assert.strictEqual((await exec("--retries", "0", "--backup", "file", ...sh(`${script}; exit 1`))).code, 1)
      assert.deepStrictEqual([read("file"), read("other")], ["old", "old"])
      assert.strictEqual(fs.statSync(at("file")).ino, fs.statSync(at("other")).ino)
    }
  })
})

describe("recovery exec, whose output cannot be written", () => {
  const shell = (script: string, cwd: string) =>
    execFileSync("bash", ["-c", `set -o pipefail; ${script}`], { cwd, encoding: "utf8" })

  for (const [what, redirect] of [
    ["its reader is gone", "2>&1 | true"],
    ["the disk is full", "> /dev/full 2>&1"]
  ] as const) {
    it.skipIf(!fs.existsSync("/dev/full"))(`does its work when ${what}`, () => {
      const { at, database, folder, read, write } = place()
      write("file", "old")
      const script = "echo new > file; test -e second || { : > second; exit 5; }; echo done > result"
      const run = `${process.execPath} ${binary} exec --database ${database} --delay 1ms --backup file -- sh -c '${script}'`
      shell(`${run} ${redirect}; true`, folder)
      assert.strictEqual(read("result"), "done\n")
      assert.strictEqual(read("file"), "new\n")
      fs.rmSync(at("second"))
      write("file", "other")
      const failing = run.replace("exec ", "exec --retries 0 ")
      assert.match(shell(`( ${failing}; echo $? > code ) ${redirect}; cat code`, folder), /^5$/m)
      assert.strictEqual(read("file"), "other")
    })
  }

  it("fails another command whose output is lost, and not one whose reader has seen enough", () => {
    const { database, folder } = place()
    const recovery = `${process.execPath} ${binary}`
    assert.strictEqual(
      shell(`${recovery} report --message seen --database ${database} > /dev/null; echo $?`, folder),
      "0\n"
    )
    const help = `${recovery} runs --json --database ${database}`
    assert.strictEqual(shell(`${help} > /dev/full 2> /dev/null; echo $?`, folder), "1\n")
    assert.strictEqual(shell(`(${help}; echo $? >&2) 2>&1 > >(true)`, folder).trim(), "0")
  })
})

/** A process that has ended and was not awaited by its parent counts as ended. */
const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  return !fs.existsSync("/proc/self/stat") || !/\) [ZX] /.test(fs.readFileSync(`/proc/${pid}/stat`, "utf8"))
}
