import * as childProcess from "node:child_process"
import * as Effect from "effect/Effect"

/** How a process ended. */
export interface Ended {
  readonly code: number | null
  readonly signal: string | null
  readonly errors: string
}

/** Runs a program to its end; interrupted, it is killed. */
export const runChild = (
  program: string,
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>>
): Effect.Effect<Ended> =>
  Effect.async((resume) => {
    const child = childProcess.spawn(process.execPath, [program, ...args], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "ignore", "pipe"]
    })
    let errors = ""
    child.stderr.on("data", (data) => {
      errors += data
    })
    child.on("error", (error) => resume(Effect.succeed({ code: 1, signal: null, errors: String(error) })))
    child.on("close", (code, signal) => resume(Effect.succeed({ code, signal, errors })))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

/** What a parent tells its child: where it works, and where it ends. */
export const folderVariable = "RECOVERY_TESTING_FOLDER"
export const crashVariable = "RECOVERY_TESTING_CRASH"
