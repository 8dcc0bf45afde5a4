import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as readline from "node:readline"
import { fileURLToPath } from "node:url"
import * as esbuild from "esbuild"
import { afterAll, beforeAll, inject } from "vitest"

const root = fileURLToPath(new URL("../..", import.meta.url))

/**
 * Bundles a program of test/process with the library: a child starts in a fraction of the time. The suites of one run share
 * the bundle of a program. It lies inside the repository, where Node finds the native client.
 */
export const bundle = async (entry: string): Promise<string> => {
  const outfile = path.join(inject("bundles"), `${entry.replace(/\W+/g, "-")}.mjs`)
  if (fs.existsSync(outfile)) return outfile
  // Files that start at once may each build it. Renaming gives each of them a whole one.
  const built = `${outfile}.${process.pid}`
  await esbuild.build({
    entryPoints: [fileURLToPath(new URL(`../process/${entry}`, import.meta.url))],
    outfile: built,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    external: ["better-sqlite3", "fs-native-extensions", "pg-native"],
    alias: {
      "effect-recovery": path.join(root, "src/index.ts"),
      "effect-recovery/cluster": path.join(root, "src/cluster.ts"),
      "effect-recovery/files": path.join(root, "src/files.ts"),
      "effect-recovery/operate": path.join(root, "src/operate.ts"),
      "effect-recovery/pg": path.join(root, "src/pg.ts"),
      "effect-recovery/sql": path.join(root, "src/sql.ts"),
      "effect-recovery/sqlite": path.join(root, "src/sqlite.ts"),
      "effect-recovery/testing": path.join(root, "src/testing.ts"),
      "effect-recovery/workflow-engine": path.join(root, "src/workflow-engine.ts")
    },
    banner: { js: "import { createRequire as __cr } from 'node:module'; const require = __cr(import.meta.url);" }
  })
  await fs.promises.rename(built, outfile)
  return outfile
}

/** A child that is awaited and prints nothing for this long hangs. Each line renews it. */
const patienceMillis = 300_000

/** A child process whose lines are awaited one by one. */
export class Child {
  readonly lines: Array<string> = []
  readonly exited: Promise<number | string>
  private readonly process: childProcess.ChildProcess
  private waiting: Array<{
    readonly test: (line: string) => boolean
    readonly resolve: (line: string) => void
    readonly reject: (error: Error) => void
  }> = []
  private stderr = ""

  constructor(
    program: string,
    args: ReadonlyArray<string>,
    options: Pick<childProcess.SpawnOptions, "cwd" | "env"> = {},
    enter: ReadonlyArray<string> = []
  ) {
    const [command = process.execPath, ...rest] = [...enter, process.execPath, program, ...args]
    this.process = childProcess.spawn(command, rest, {
      ...options,
      stdio: ["pipe", "pipe", "pipe"]
    })
    readline.createInterface({ input: this.process.stdout as NodeJS.ReadableStream }).on("line", (line) => {
      this.lines.push(line)
      this.waiting = this.waiting.filter((waiter) => !waiter.test(line) || void waiter.resolve(line))
    })
    this.process.stderr?.on("data", (data) => {
      this.stderr += data
    })
    this.exited = new Promise((resolve) => {
      this.process.on("close", (code, signal) => {
        this.reject(`ended (${code ?? signal})`)
        resolve(code ?? signal ?? "unknown")
      })
    })
  }

  /** The first line, past or future, that passes the test. */
  async line(test: (line: string) => boolean): Promise<string> {
    const seen = this.lines.find(test)
    if (seen !== undefined) return seen
    const found = new Promise<string>((resolve, reject) => this.waiting.push({ test, resolve, reject }))
    let lines = this.lines.length
    const timer = setInterval(() => {
      if (lines === this.lines.length) this.reject(`printed nothing for ${patienceMillis / 1_000} s`)
      lines = this.lines.length
    }, patienceMillis)
    return found.finally(() => clearInterval(timer))
  }

  private reject(what: string): void {
    const output = [...this.lines.slice(-5), this.stderr].join("\n")
    for (const { reject } of this.waiting) reject(new Error(`The child process ${what}:\n${output}`))
    this.waiting = []
  }

  signal(signal: NodeJS.Signals): void {
    this.process.kill(signal)
  }

  get pid(): number {
    return this.process.pid ?? Number.NaN
  }

  say(line: string): void {
    this.process.stdin?.write(`${line}\n`)
  }

  async end(): Promise<number | string> {
    this.process.stdin?.end()
    return this.exited
  }

  get errors(): string {
    return this.stderr
  }
}

/** A program of test/process, bundled for the tests of a suite, and a folder for its processes, which is removed after them. */
export const useProgram = (entry: string) => {
  const folder = fs.realpathSync(temporaryFolder())
  let program = ""
  beforeAll(async () => {
    program = await bundle(entry)
  })
  afterAll(() => fs.rmSync(folder, { recursive: true }))
  return {
    folder,
    program: () => program,
    start: (...args: ReadonlyArray<string>): Child => new Child(program, args),
    /** Starts it by a command that enters a namespace. */
    startIn: (enter: ReadonlyArray<string>, ...args: ReadonlyArray<string>): Child =>
      new Child(program, args, {}, enter)
  }
}

export const temporaryFolder = (): string => fs.mkdtempSync(path.join(os.tmpdir(), "effect-recovery-"))

/** A small seeded generator (mulberry32), so that a failing run can be run again. */
export const seeded = (seed: number) => {
  let state = seed
  return (below: number): number => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below)
  }
}
