import { spawn, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { afterAll, assert, describe, it } from "vitest"
import { Child, temporaryFolder } from "../support/children.js"

/** As it is published. */
const binary = path.resolve("dist/recovery.mjs")

const folder = fs.realpathSync(temporaryFolder())
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

let count = 0

/** An exec that restores a folder of files, in a place of its own. */
const place = (files = 1) => {
  const here = path.join(folder, String(++count))
  const data = path.join(here, "data")
  fs.mkdirSync(data, { recursive: true })
  for (let i = 0; i < files; i++) fs.writeFileSync(path.join(data, String(i)), "old")
  const args = (script: string, ...options: ReadonlyArray<string>) => [
    ...["exec", "--database", path.join(here, "recovery.db"), "--delay", "1h", "--backup", data, ...options],
    ...["--", "sh", "-c", script]
  ]
  return {
    here,
    data,
    args,
    start: (script: string, ...options: ReadonlyArray<string>) =>
      new Child(binary, args(script, ...options), { cwd: here }),
    isOld: () =>
      fs.readdirSync(data).length === files &&
      fs.readdirSync(data).every((name) => fs.readFileSync(path.join(data, name), "utf8") === "old")
  }
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 5))

const until = async (passes: () => boolean) => {
  while (!passes()) await turn()
}

const ending = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"] as const
const passed = ["SIGUSR1", "SIGUSR2", "SIGALRM", "SIGPIPE", "SIGWINCH", "SIGURG", "SIGIO", "SIGXCPU"] as const

const dirty = "echo new > data/0; echo more > data/more"

/** Says which signals it gets, and ends only by SIGKILL. */
const stubborn = (signals: ReadonlyArray<string>) =>
  `${dirty}; ${signals.map((one) => `trap 'echo got ${one}' ${one.slice(3)}`).join("; ")}; echo started; while :; do sleep 0.01; done`

const got = (child: Child, signal: string) => child.lines.filter((line) => line === `got ${signal}`).length

const errorLine = (child: Child, pattern: RegExp) => until(() => pattern.test(child.errors))

// The tests read the states of processes in /proc.
describe.skipIf(process.platform !== "linux")("signals to recovery exec", () => {
  for (const signal of ending) {
    it(`${signal} between two attempts: the files are restored, and it ends by the signal`, async () => {
      const { isOld, start } = place()
      const child = start(`${dirty}; exit 1`)
      await errorLine(child, /attempt 2 of 4/)
      assert.isFalse(isOld())
      child.signal(signal)
      assert.strictEqual(await child.exited, signal, child.errors)
      assert.isTrue(isOld())
    })

    it(`${signal} while it waits for a lock: nothing was changed, and it ends by the signal`, async () => {
      const { isOld, start } = place()
      const holder = start("echo started; read line", "--lock", "L")
      await holder.line((line) => line === "started")
      const child = start(dirty, "--lock", "L", "--lock-timeout", "1h")
      // Its own signals are handled from the start of the program, which this shows.
      await until(() => isHandled(child.pid, signal))
      child.signal(signal)
      assert.strictEqual(await child.exited, signal, child.errors)
      holder.say("end")
      assert.strictEqual(await holder.exited, 0, holder.errors)
      assert.isTrue(isOld())
    })

    it(`${signal} during the command: it gets the signal once, its files are restored, and exec ends by the signal`, async () => {
      const { isOld, start } = place()
      const script = `trap 'echo got ${signal}; exit 0' ${signal.slice(3)}; ${dirty}; echo started; while :; do sleep 0.01; done`
      const child = start(script)
      await child.line((line) => line === "started")
      child.signal(signal)
      assert.strictEqual(await child.exited, signal, child.errors)
      assert.strictEqual(got(child, signal), 1)
      assert.isTrue(isOld())
    })

    it(`${signal} again: the second one sends SIGTERM, the third one SIGKILL`, async () => {
      const { isOld, start } = place()
      const child = start(stubborn([signal, "SIGTERM"]), "--kill-after", "1h")
      await child.line((line) => line === "started")
      child.signal(signal)
      await child.line((line) => line === `got ${signal}`)
      child.signal(signal)
      await until(() => got(child, "SIGTERM") === (signal === "SIGTERM" ? 2 : 1))
      assert.strictEqual(got(child, signal), signal === "SIGTERM" ? 2 : 1)
      child.signal(signal)
      assert.strictEqual(await child.exited, signal, child.errors)
      assert.isTrue(isOld())
      assert.match(child.errors, /ending the command and restoring .*data; this program ends when it is done/)
    })

    it(`${signal} while files are restored: they are, and it ends by the first signal`, async () => {
      const { child, isOld } = await frozenWhileRestoring()
      child.signal(signal)
      child.signal("SIGCONT")
      assert.strictEqual(await child.exited, signal, child.errors)
      assert.isTrue(isOld())
    })
  }

  it("three signals while files are restored: it says what it does, and does it", async () => {
    const { child, isOld } = await frozenWhileRestoring()
    for (const signal of ["SIGTERM", "SIGHUP", "SIGINT"] as const) child.signal(signal)
    child.signal("SIGCONT")
    assert.include(["SIGTERM", "SIGHUP", "SIGINT"], await child.exited, child.errors)
    assert.match(child.errors, /restoring .*data; this program ends when it is done/)
    assert.isTrue(isOld())
  })

  it("SIGKILL to the command after the grace period, if it does not end", async () => {
    const { isOld, start } = place()
    const child = start(stubborn(["SIGTERM"]), "--kill-after", "50ms")
    await child.line((line) => line === "started")
    child.signal("SIGTERM")
    assert.strictEqual(await child.exited, "SIGTERM", child.errors)
    assert.isTrue(isOld())
  })

  it(`${passed.join(", ")} are passed on during the command, and end nothing between two attempts`, async () => {
    const { here, isOld, start } = place()
    const traps = passed.map((signal) => `trap 'echo got ${signal}' ${signal.slice(3)}`).join("; ")
    const child = start(`${traps}; ${dirty}; echo started; until test -e up; do sleep 0.01; done; exit 1`)
    await child.line((line) => line === "started")
    for (const signal of passed) {
      child.signal(signal)
      await child.line((line) => line === `got ${signal}`)
    }
    for (const signal of passed) assert.strictEqual(got(child, signal), 1, signal)
    fs.writeFileSync(path.join(here, "up"), "")
    await errorLine(child, /attempt 2 of 4/)
    for (const signal of passed) child.signal(signal)
    child.signal("SIGTERM")
    assert.strictEqual(await child.exited, "SIGTERM", child.errors)
    assert.notMatch(child.errors, /[Dd]ebugger/)
    assert.isTrue(isOld())
  })

  it(`${passed.join(", ")} end nothing while files are restored`, async () => {
    const { child, isOld } = await frozenWhileRestoring()
    for (const signal of passed) child.signal(signal)
    child.signal("SIGCONT")
    assert.strictEqual(await child.exited, 1, child.errors)
    assert.isTrue(isOld())
  })
})

/** A program of util-linux that runs a command in a terminal of its own. */
const hasTerminal = spawnSync("script", ["--version"]).status === 0 && spawnSync("bash", ["--version"]).status === 0

describe.skipIf(process.platform !== "linux" || !hasTerminal)("recovery exec in a terminal", () => {
  /** Runs a command in a terminal of its own. */
  const terminal = (command: string, cwd: string) => {
    const child = spawn("script", ["-qfec", command, "/dev/null"], { cwd })
    let shown = ""
    child.stdout.on("data", (data) => {
      shown += data
    })
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve))
    return { type: (text: string) => child.stdin.write(text), shown: () => shown, ended }
  }
  const quoted = (args: ReadonlyArray<string>) => args.map((arg) => `'${arg.replaceAll("'", `'\\''`)}'`).join(" ")

  it("passes Ctrl+C on once, ends the command at the second and kills it at the third", async () => {
    const { args, here, isOld } = place()
    const script = stubborn(["SIGINT", "SIGTERM"])
    const { ended, shown, type } = terminal(
      quoted([process.execPath, binary, ...args(script, "--kill-after", "1h")]),
      here
    )
    const times = (text: string) => shown().split(text).length - 1
    await until(() => times("started") === 1)
    type("\u0003")
    await until(() => times("got SIGINT") === 1)
    type("\u0003")
    await until(() => times("got SIGTERM") === 1)
    type("\u0003")
    assert.strictEqual(await ended, 130)
    assert.strictEqual(times("got SIGINT"), 1)
    assert.strictEqual(times("got SIGTERM"), 1)
    assert.isTrue(isOld())
  })

  it("stops with its command at Ctrl+Z, and continues with it", async () => {
    const { args, here } = place()
    const script = "echo $$ > pid; echo started; until test -e up; do sleep 0.01; done; echo finished"
    const { ended, shown, type } = terminal("bash --norc -i", here)
    type(`${quoted([process.execPath, binary, ...args(script)])}\n`)
    await until(() => /^started/m.test(shown()))
    const pid = Number(fs.readFileSync(path.join(here, "pid"), "utf8"))
    type("\u001a")
    await until(() => stateOf(pid) === "T" && /Stopped/.test(shown()))
    fs.writeFileSync(path.join(here, "up"), "")
    type("fg\n")
    await until(() => /^finished/m.test(shown()))
    type("exit\n")
    await ended
  })
})

/** Containers need rights that some machines do not give. */
const canContain = spawnSync("unshare", ["-pf", "--mount-proc", "true"]).status === 0

describe.skipIf(!canContain)(
  "recovery exec as the first process of a container, which nothing removes zombies for",
  () => {
    const contained = (...args: ReadonlyArray<string>) => {
      const child = spawn("unshare", ["-pf", "--mount-proc", process.execPath, binary, ...args])
      let shown = ""
      child.stdout.on("data", (data) => {
        shown += data
      })
      const ended = new Promise<number | null>((resolve) => child.once("exit", resolve))
      const first = () => Number(fs.readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8"))
      return { ended, first, shown: () => shown }
    }

    it("ends after its command, though zombies of the command's processes stay", async () => {
      const { args, isOld } = place()
      const script = `(sleep 1000 &); (sleep 1000 &); ${dirty}; exec sleep 1000`
      const { ended } = contained(...args(script, "--timeout", "100ms", "--retries", "0"))
      assert.strictEqual(await ended, 124)
      assert.isTrue(isOld())
    })

    it("exits with 128 and the number of the signal, which does not end it", async () => {
      const { args, isOld } = place()
      const { ended, first, shown } = contained(...args(`${dirty}; echo started; exec sleep 1000`))
      await until(() => shown().includes("started"))
      process.kill(first(), "SIGTERM")
      assert.strictEqual(await ended, 143)
      assert.isTrue(isOld())
    })
  }
)

/** Whether the process has a handler for the signal. */
const isHandled = (pid: number, signal: string): boolean => {
  const [, mask = "0"] = /SigCgt:\s*([0-9a-f]+)/.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8")) ?? []
  const numbers: Readonly<Record<string, bigint>> = { SIGHUP: 1n, SIGINT: 2n, SIGQUIT: 3n, SIGTERM: 15n }
  return ((BigInt(`0x${mask}`) >> ((numbers[signal] ?? 1n) - 1n)) & 1n) === 1n
}

const stateOf = (pid: number): string => /\) (.)/.exec(fs.readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1] ?? ""

/** The names in a folder that may be gone. */
const existing = (folder: string): ReadonlyArray<string> => {
  try {
    return fs.readdirSync(folder)
  } catch {
    return []
  }
}

/** Stops an exec in the middle of restoring its files; with more files if it was too fast. */
const frozenWhileRestoring = async (files = 200): Promise<{ readonly child: Child; readonly isOld: () => boolean }> => {
  const { here, isOld, start } = place(files)
  const child = start(`${dirty}; echo started; read line; exit 1`, "--retries", "0")
  await child.line((line) => line === "started")
  const [journal = ""] = fs.readdirSync(here).filter((name) => name.startsWith(".file-transaction"))
  const isRestoring = () => existing(path.join(here, journal)).some((name) => name.endsWith(".undone"))
  child.say("end")
  await until(() => isRestoring() || !fs.existsSync(path.join(here, journal)))
  child.signal("SIGSTOP")
  await until(() => stateOf(child.pid) === "T" || stateOf(child.pid) === "Z")
  if (fs.readdirSync(here).some((name) => name.startsWith(".file-transaction"))) return { child, isOld }
  child.signal("SIGCONT")
  await child.exited
  return frozenWhileRestoring(files * 4)
}
