import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { temporaryFolder } from "../support/files.js"

/** As it is published. */
export const binary = path.resolve("dist/recovery.mjs")

export interface Result {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Options {
  readonly cwd?: string | undefined
  readonly env?: NodeJS.ProcessEnv | undefined
}

/** Runs a program to its end. Its standard input is empty. */
export const run = (file: string, args: ReadonlyArray<string>, options: Options = {}): Effect.Effect<Result> =>
  Effect.async((resume) => {
    const child = spawn(file, args, { ...options, stdio: ["ignore", "pipe", "pipe"] })
    let [stdout, stderr] = ["", ""]
    child.stdout.on("data", (data) => {
      stdout += data
    })
    child.stderr.on("data", (data) => {
      stderr += data
    })
    child.once("close", (code) => resume(Effect.succeed({ code, stdout, stderr })))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

export const recovery = (args: ReadonlyArray<string>, options: Options = {}): Effect.Effect<Result> =>
  run(process.execPath, [binary, ...args], { ...options, env: { ...process.env, NO_COLOR: "1", ...options.env } })

export interface Home {
  /** Holds everything that the test makes. */
  readonly folder: string
  /** The command line of a user whose home is `folder`. */
  readonly recovery: (args: ReadonlyArray<string>, options?: Options) => Effect.Effect<Result>
}

/** A home folder, so that nothing is found outside of it. */
export const home: Effect.Effect<Home, never, Scope.Scope> = Effect.map(temporaryFolder, (made) => {
  const folder = fs.realpathSync(made)
  return {
    folder,
    recovery: (args, options = {}) =>
      recovery(args, { cwd: folder, ...options, env: { HOME: folder, XDG_DATA_HOME: "", ...options.env } })
  }
})
