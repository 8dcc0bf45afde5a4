import * as fs from "node:fs"
import * as path from "node:path"
import { afterAll, assert, describe, it } from "vitest"
import { isSoak, lengthOf, seedOf } from "../support/campaigns.js"
import { Child, seeded, temporaryFolder } from "../support/children.js"

/** As it is published. */
const binary = path.resolve("dist/recovery.mjs")

const folder = fs.realpathSync(temporaryFolder())
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

let count = 0

const place = (name = "") => {
  const here = path.join(folder, String(++count), name)
  fs.mkdirSync(here, { recursive: true })
  const args = (given: ReadonlyArray<string>) => ["exec", "--database", path.join(here, "recovery.db"), ...given]
  return {
    here,
    read: (file: string) => fs.readFileSync(path.join(here, file), "utf8"),
    write: (file: string, content: string) => fs.writeFileSync(path.join(here, file), content),
    start: (...given: ReadonlyArray<string>) => new Child(binary, args(given), { cwd: here }),
    announced: () => fs.readdirSync(path.join(here, "recovery.db-exec"))
  }
}

const turn = (millis = 5) => new Promise((resolve) => setTimeout(resolve, millis))

const until = async (passes: () => boolean) => {
  while (!passes()) await turn()
}

/** A zombie has ended. */
const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return !/\) [ZX] /.test(fs.readFileSync(`/proc/${pid}/stat`, "utf8"))
  } catch {
    return false
  }
}

const kill = (pid: number) => {
  try {
    process.kill(pid, "SIGKILL")
  } catch {
    // It has ended.
  }
}

/** Half-writes the file, says so, and continues without its input and output until it may end. */
const half = (shell = "sh", before = "") => [
  "--",
  ...[shell, "-c"],
  `cat file >> seen; echo half >> file; echo $$ > pid; ${before} echo started; exec > /dev/null 2>&1 < /dev/null; until test -e up; do sleep 0.01; done; echo late >> file`
]

/** A command whose exec is killed in the middle. */
const orphaned = async (here: ReturnType<typeof place>, options: ReadonlyArray<string>, command = half()) => {
  here.write("file", "old\n")
  const killed = here.start(...options, ...command)
  await killed.line((line) => line === "started")
  killed.signal("SIGKILL")
  await until(() => !isAlive(killed.pid))
  const pid = Number(here.read("pid"))
  assert.isTrue(isAlive(pid))
  return pid
}

const task = ["--task", "T", "--backup", "file"]

describe.skipIf(process.platform !== "linux" || isSoak)(
  "recovery exec after a SIGKILL of exec, while its command lives",
  () => {
    const commands: Readonly<Record<string, Array<string>>> = {
      "as usual": half(),
      "after the command closed the descriptor": half("bash", "exec 47<&-;"),
      "after the command left the process group": [
        "--",
        ...["sh", "-c", `setsid "$@" & echo $$ > group; exec sleep 1000`, "sh", ...half().slice(1)]
      ]
    }
    for (const [when, command] of Object.entries(commands)) {
      it(`refuses to start beside it, waits for it, and restores the files after it: ${when}`, async () => {
        const here = place()
        const pid = await orphaned(here, task, command)
        if (fs.existsSync(path.join(here.here, "group"))) kill(-Number(here.read("group")))
        for (const options of [task, ["--task", "other", "--backup", "file"]]) {
          const refused = here.start(...options, "--lock-timeout", "100ms", "--", "true")
          assert.strictEqual(await refused.exited, 4, refused.errors)
          assert.match(
            refused.errors,
            new RegExp(`processes of its command still run.*"kill (-- -)?(\\d+ )*${pid}( \\d+)*"`)
          )
          assert.strictEqual(here.read("file"), "old\nhalf\n")
        }
        const other = here.start("--task", "other", "--", "true")
        assert.strictEqual(await other.exited, 0, other.errors)
        const waiting = here.start(...task, "--", "sh", "-c", "cat file >> seen; echo new > file")
        await until(() => /waiting for processes of an earlier start/.test(waiting.errors))
        here.write("up", "")
        assert.strictEqual(await waiting.exited, 0, waiting.errors)
        assert.isFalse(isAlive(pid))
        assert.strictEqual(here.read("seen"), "old\nold\n")
        assert.strictEqual(here.read("file"), "new\n")
        assert.deepStrictEqual(here.announced(), [])
      })
    }

    it("keeps the files of a task that is on record as completed, and restores those of one that is not", async () => {
      for (const isCompleted of [true, false]) {
        const here = place()
        const pid = await orphaned(here, task)
        kill(-pid)
        await until(() => !isAlive(pid))
        const journals = () => fs.readdirSync(here.here).filter((name) => name.startsWith(".file-transaction"))
        const left = [...journals(), ...here.announced().map((name) => path.join("recovery.db-exec", name))]
        const move = (from: string, to: string) => {
          for (const name of left) fs.renameSync(path.join(here.here, from, name), path.join(here.here, to, name))
        }
        if (isCompleted) {
          // As if exec had been killed between the record and its last step.
          fs.mkdirSync(path.join(here.here, "aside/recovery.db-exec"), { recursive: true })
          move(".", "aside")
          const completed = here.start(...task, "--", "sh", "-c", "echo new > file")
          assert.strictEqual(await completed.exited, 0, completed.errors)
          move("aside", ".")
        }
        const next = here.start(...task, "--", "true")
        assert.strictEqual(await next.exited, 0, next.errors)
        assert.strictEqual(here.read("file"), isCompleted ? "new\n" : "old\n")
        assert.deepStrictEqual(journals(), [])
        assert.deepStrictEqual(here.announced(), [])
      }
    })

    it("leaves no description that its exec was killed in the middle of writing", async () => {
      const here = place()
      const pid = await orphaned(here, task)
      kill(-pid)
      await until(() => !isAlive(pid))
      const folder = path.join(here.here, "recovery.db-exec")
      const [description] = here.announced().filter((name) => name.endsWith(".json"))
      // Of this exec, of one that was killed an hour ago before it had announced anything, and of one that begins now.
      const hourAgo = new Date(Date.now() - 3_600_000)
      for (const name of [`${description}.new`, "0000.json.new", "1111.json.new"]) {
        fs.writeFileSync(path.join(folder, name), "{")
      }
      fs.utimesSync(path.join(folder, "0000.json.new"), hourAgo, hourAgo)
      const next = here.start(...task, "--", "true")
      assert.strictEqual(await next.exited, 0, next.errors)
      assert.deepStrictEqual(here.announced(), ["1111.json.new"])
    })

    it("finds it where the path of the database is longer than the address of a socket", async () => {
      const here = place("a-long-name-".repeat(15))
      await orphaned(here, task)
      const refused = here.start(...task, "--lock-timeout", "1ms", "--", "true")
      assert.strictEqual(await refused.exited, 4, refused.errors)
      here.write("up", "")
      const next = here.start(...task, "--", "true")
      assert.strictEqual(await next.exited, 0, next.errors)
    })
  }
)

describe.skipIf(process.platform !== "linux")("recovery exec, killed at random", () => {
  /** Fails if another one lives, or if the files are not of one version; then makes them new, slowly. */
  const script = `
for one in pids/*; do
  # A zombie has ended.
  case $(sed -n 's/^State:.\\(.\\).*/\\1/p' "/proc/\${one#pids/}/status" 2> /dev/null) in
    "" | Z | X) ;;
    *) echo "beside $one" >> faults ;;
  esac
done
: > pids/$$
# A retry of one exec begins with what the attempt before it has left.
test -e seen-$PPID || { cmp -s a b && cmp -s b c; } || echo mixed >> faults
: > seen-$PPID
for file in a b c; do
  : > $file; sleep 0.0\${1}
  echo new >> $file; sleep 0.0\${1}
done
rm pids/$$`

  const round = async (random: (below: number) => number) => {
    const { here, read, write, start } = place()
    for (const file of ["a", "b", "c"]) write(file, "old\n")
    fs.mkdirSync(path.join(here, "pids"))
    const backups = ["a", "b", "c"].flatMap((file) => ["--backup", file])
    const args = ["--task", "T", "--delay", "1ms", ...backups, "--", "sh", "-c", script, "sh", String(1 + random(3))]
    const kills = 1 + random(2)
    for (let i = 0; i < kills; i++) {
      const child = start(...args)
      if (random(4) === 0) await turn(random(600))
      else {
        const pids = () => fs.readdirSync(path.join(here, "pids"))
        const before = pids().join()
        await Promise.race([until(() => pids().join() !== before), child.exited])
        await turn(random(250))
      }
      const pids = fs.readdirSync(path.join(here, "pids")).map(Number)
      const victim = random(3)
      if (victim !== 0) kill(child.pid)
      if (victim !== 1) for (const pid of pids) kill(victim === 0 ? -pid : pid)
      await until(() => !isAlive(child.pid) || victim === 0)
      if (victim === 0) await child.exited
    }
    const last = start(...args)
    assert.strictEqual(await last.exited, 0, last.errors)
    assert.isFalse(
      fs.existsSync(path.join(here, "faults")),
      fs.existsSync(path.join(here, "faults")) ? read("faults") : ""
    )
    assert.deepStrictEqual(["a", "b", "c"].map(read), ["new\n", "new\n", "new\n"])
    assert.deepStrictEqual(
      fs.readdirSync(here).filter((name) => name.startsWith(".")),
      []
    )
  }

  const rounds = lengthOf("EXEC_KILLS")

  it(`has old files or new ones, and one command at a time (${rounds} rounds)`, async () => {
    let left = rounds
    const worker = async (random: (below: number) => number) => {
      while (left-- > 0) await round(random)
    }
    await Promise.all([0, 1].map((i) => worker(seeded(seedOf(19) + i))))
  })
})
