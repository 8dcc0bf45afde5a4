/**
 * Checks of what a checkpoint relies on.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Artifact, Info } from "./CheckpointInfo.js"

/**
 * Checks whether what a checkpoint relies on is still there. Make one with
 * {@link environment}, {@link artifacts}, {@link dependency}, or by hand.
 *
 * @since 0.1.0
 * @category checks
 */
export interface Check<out R = never> {
  readonly name: string
  readonly severity: "error" | "warning"
  /** The recorded dependencies that it checks. */
  readonly covers?: ReadonlyArray<string> | undefined
  readonly check: (info: Info) => Effect.Effect<ReadonlyArray<Finding>, never, R>
}

/**
 * @since 0.1.0
 * @category checks
 */
export interface Finding {
  readonly subject: string
  readonly message: string
  /** Defaults to the severity of the check. */
  readonly severity?: "error" | "warning"
}

/**
 * Compares the recorded environment with the current one, and reports values
 * that are missing or different. Severity: `warning` by default.
 *
 * @since 0.1.0
 * @category checks
 */
export const environment = <E, R>(
  now: Effect.Effect<Readonly<Record<string, string>>, E, R>,
  severity: "error" | "warning" = "warning"
): Check<R> => ({
  name: "environment",
  severity,
  check: (info) =>
    Effect.match(now, {
      onFailure: (error) => [{ subject: "environment", message: `it cannot be read: ${error}` }],
      onSuccess: (values) =>
        Object.entries(info.environment).flatMap(([subject, recorded]) => {
          const value = Object.hasOwn(values, subject) ? values[subject] : undefined
          if (value === recorded) return []
          return [{ subject, message: value === undefined ? "it is missing" : `it is ${value}, and was ${recorded}` }]
        })
    })
})

/**
 * Checks that the recorded artifacts exist, with the recorded size and digest if
 * there are any. `inspect` returns what is under a path: a file, or whatever
 * paths mean to the program. Severity: `warning` by default.
 *
 * @example
 * ```ts
 * import { FileSystem } from "@effect/platform"
 * import { Checkpoint } from "effect-recovery"
 * import { Effect, Option, Schema } from "effect"
 *
 * const sizeOf = (path: string) =>
 *   Effect.gen(function* () {
 *     const fs = yield* FileSystem.FileSystem
 *     if (!(yield* fs.exists(path))) return Option.none()
 *     return Option.some({ size: Number((yield* fs.stat(path)).size) })
 *   })
 *
 * export const Build = Checkpoint.make("build", {
 *   schema: Schema.Struct({ target: Schema.String }),
 *   checks: [Checkpoint.artifacts(sizeOf)]
 * })
 * ```
 *
 * @since 0.1.0
 * @category checks
 */
export const artifacts = <E, R>(
  inspect: (path: string) => Effect.Effect<Option.Option<Omit<Artifact, "path">>, E, R>,
  severity: "error" | "warning" = "warning"
): Check<R> => ({
  name: "artifacts",
  severity,
  check: (info) =>
    Effect.map(
      Effect.forEach(info.artifacts, ({ digest, path, size }) =>
        Effect.match(inspect(path), {
          onFailure: (error) => [`it cannot be inspected: ${error}`],
          onSuccess: (found) => {
            if (Option.isNone(found)) return ["it is missing"]
            const now = found.value
            if (size !== undefined && now.size !== size) return [`it has ${now.size} bytes, and had ${size}`]
            return digest !== undefined && now.digest !== digest ? ["its contents have changed"] : []
          }
        }).pipe(Effect.map((messages) => messages.map((message) => ({ subject: path, message }))))
      ),
      (findings) => findings.flat()
    )
})

/**
 * Checks that a recorded dependency can be reached: that the probe succeeds.
 * Severity: `error` by default.
 *
 * @since 0.1.0
 * @category checks
 */
export const dependency = <E, R>(
  name: string,
  probe: Effect.Effect<unknown, E, R>,
  severity: "error" | "warning" = "error"
): Check<R> => ({
  name: "dependencies",
  severity,
  covers: [name],
  check: (info) =>
    info.dependencies.includes(name)
      ? Effect.match(probe, {
          onFailure: (error) => [{ subject: name, message: `it cannot be reached: ${error}` }],
          onSuccess: () => []
        })
      : Effect.succeed([])
})
