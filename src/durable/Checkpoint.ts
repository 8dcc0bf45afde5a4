/**
 * A checkpoint is a named, typed snapshot of a program's state that is checked
 * before it is used: its bytes by their digest, its schema by its version, and
 * whatever it relies on by checks of your own.
 *
 * Saved in a step or in the body of a workflow it belongs to the run, and is a
 * point the run can be rewound to; saved elsewhere it stands alone.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Ref from "effect/Ref"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Storage from "../storage/Storage.js"
import { CheckpointInvalid, CheckpointNotFound, Problem } from "./CheckpointError.js"
import type { Artifact, Info } from "./CheckpointInfo.js"
import * as cleanup_ from "./internal/checkpoint/cleanup.js"
import { infoOf } from "./internal/checkpoint/info.js"
import { makeCheckpoint } from "./internal/checkpoint/operations.js"
import * as scoped_ from "./internal/checkpoint/scoped.js"
import type { Migration as AnyMigration } from "./internal/checkpoint/state.js"
import type { JournalError } from "./RunError.js"
import type * as State from "./State.js"

/**
 * @since 0.1.0
 * @category models
 */
export * from "./CheckpointInfo.js"
export {
  /**
   * A checkpoint must not be used.
   *
   * @since 0.1.0
   * @category errors
   */
  CheckpointInvalid,
  /**
   * There is no checkpoint with this id and name.
   *
   * @since 0.1.0
   * @category errors
   */
  CheckpointNotFound,
  /**
   * Something a check has found.
   *
   * @since 0.1.0
   * @category models
   */
  Problem
}

/**
 * What kind of snapshot it is. A word for whoever looks for it later; it
 * decides nothing.
 *
 * @since 0.1.0
 * @category models
 */
export type Kind = "step" | "job" | "workflow" | "auto" | "manual" | "transactional" | (string & {})

/**
 * A checkpoint with its state.
 *
 * @since 0.1.0
 * @category models
 */
export interface Restored<out S> extends Info {
  readonly state: S
  /** What its checks warn of. */
  readonly warnings: ReadonlyArray<Problem>
}

/**
 * What `validate` answers.
 *
 * @since 0.1.0
 * @category models
 */
export interface Validity {
  readonly isValid: boolean
  readonly errors: ReadonlyArray<Problem>
  readonly warnings: ReadonlyArray<Problem>
  readonly checkedAt: Date
}

/**
 * Looks whether what a checkpoint relies on is still there. Make one with
 * {@link environment}, {@link artifacts}, {@link dependency}, or by hand.
 *
 * @since 0.1.0
 * @category checks
 */
export interface Check<out R = never> {
  readonly name: string
  readonly severity: "error" | "warning"
  /** Which recorded dependencies it looks after. */
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
  /** Defaults to that of the check. */
  readonly severity?: "error" | "warning"
}

/**
 * How a state of one version becomes one of the next.
 *
 * @since 0.1.0
 * @category migrations
 */
export interface Migration<out R = never> {
  readonly _R: (_: never) => R
  /** @internal */
  readonly migration: AnyMigration
}

/**
 * What goes with a save.
 *
 * @since 0.1.0
 * @category models
 */
export interface SaveOptions {
  /** Defaults to that of the checkpoint. */
  readonly kind?: Kind | undefined
  /** What the state relies on, such as versions of tools. */
  readonly environment?: Readonly<Record<string, string>> | undefined
  /** Names of systems it relies on; each needs a check that covers it. */
  readonly dependencies?: ReadonlyArray<string> | undefined
  /** Files it relies on; a path alone is only looked for. */
  readonly artifacts?: ReadonlyArray<string | Artifact> | undefined
  /** To find it by, such as repository and commit. */
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** Whatever else is worth knowing, as JSON has it. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined
}

/**
 * When a checkpoint is due.
 *
 * @since 0.1.0
 * @category models
 */
export interface Due {
  /** Since the last one. Defaults to 5 minutes; with `progress` it does not matter. */
  readonly interval?: Duration.DurationInput | undefined
  /**
   * How much of the work is done, from 0 to 1: due once for each milestone that was reached since the last
   * one of its kind, by default `milestone`. Kept as `metadata.progress`. For one work at a time: whoever is behind
   * the last one has begun anew.
   */
  readonly progress?: number | undefined
  /** Defaults to each quarter: 0.25, 0.5, 0.75 and 1. */
  readonly milestones?: ReadonlyArray<number> | undefined
}

/**
 * Which checkpoints to look for. Newest first.
 *
 * @since 0.1.0
 * @category models
 */
export interface Query {
  /**
   * Of this run. Inside of a run its own is meant unless it says otherwise;
   * outside those that belong to none. `"any"` looks at all of them.
   */
  readonly run?: string | undefined
  readonly kind?: Kind | undefined
  /** Only those saved before this checkpoint, by id, or this time. */
  readonly before?: string | Date | undefined
  /** Only those with all of these labels. */
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** Also those a rewind has passed. Defaults to false. */
  readonly rewound?: boolean | undefined
  /** Defaults to 100. */
  readonly limit?: number | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Stats {
  readonly count: number
  /** Of their states, before compression. */
  readonly bytes: number
  readonly oldest: Option.Option<Date>
  readonly newest: Option.Option<Date>
  readonly byKind: Readonly<Record<string, number>>
  readonly byName: Readonly<Record<string, number>>
}

/**
 * Which checkpoints to keep. The newest valid one of a run without an outcome
 * is always kept.
 *
 * @since 0.1.0
 * @category models
 */
export interface Retention {
  /** How many of a run; those of no run count together. */
  readonly keep?: number | undefined
  /** For how long. */
  readonly maxAge?: Duration.DurationInput | undefined
}

/** What can go wrong with the storage. Inside of a run it stops the run, and never surfaces. */
type Trouble = Storage.StorageError | JournalError

/**
 * A kind of snapshot: its name, its schema and its checks. `R` is what its
 * schema needs, `RC` what its checks need.
 *
 * @since 0.1.0
 * @category models
 */
export interface Checkpoint<in out S, out R = never, out RC = never> {
  readonly name: string
  /**
   * Saves a snapshot. In the body of a workflow it is saved once, however often
   * the run is resumed; in a step, each time the step comes by.
   */
  readonly save: (state: S, options?: SaveOptions) => Effect.Effect<Info, Trouble, Storage.Storage | R>
  /** Saves if it is time for it, by the clock or by the progress of the work. */
  readonly saveIfDue: (
    state: S,
    options?: SaveOptions & Due
  ) => Effect.Effect<Option.Option<Info>, Trouble, Storage.Storage | R>
  /** Saves in the background at an interval, and at last when the scope closes. */
  readonly saveEvery: <E, R2>(
    state: Effect.Effect<S, E, R2>,
    interval: Duration.DurationInput,
    options?: SaveOptions
  ) => Effect.Effect<void, never, Storage.Storage | Scope.Scope | R | R2>
  /**
   * The newest one, whole and readable; its checks are `restore`'s business.
   * In the body of a workflow a resume reads the same one again.
   */
  readonly latest: (
    query?: Omit<Query, "limit">
  ) => Effect.Effect<Option.Option<Restored<S>>, CheckpointInvalid | CheckpointNotFound | Trouble, Storage.Storage | R>
  /** Without their states. */
  readonly list: (query?: Query) => Effect.Effect<ReadonlyArray<Info>, Trouble, Storage.Storage>
  /** Reads one after all of its checks. Inside of a run it must be the run's own. */
  readonly restore: (
    id: string
  ) => Effect.Effect<Restored<S>, CheckpointNotFound | CheckpointInvalid | Trouble, Storage.Storage | R | RC>
  /** Runs all of its checks and tells everything they find. */
  readonly validate: (id: string) => Effect.Effect<Validity, CheckpointNotFound | Trouble, Storage.Storage | R | RC>
  /** Whether it may be used; a storage in trouble knows of none that may. */
  readonly isValid: (id: string) => Effect.Effect<boolean, never, Storage.Storage | R | RC>
  readonly stats: (query?: Omit<Query, "limit">) => Effect.Effect<Stats, Trouble, Storage.Storage>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<S, I, R, RC, RM> {
  readonly schema: Schema.Schema<S, I, R>
  /** Raise it when the schema changes, and say how older states become newer ones. Defaults to 1. */
  readonly version?: number | undefined
  /** By the version they start from. */
  readonly migrations?: Readonly<Record<number, Migration<RM>>> | undefined
  /** Defaults to "manual". */
  readonly kind?: Kind | undefined
  /** What to look at before it is used. */
  readonly checks?: ReadonlyArray<Check<RC>> | undefined
  /** How bad it is what a check finds, by the check's name; warnings may be made errors, and errors warnings. */
  readonly severities?: Readonly<Record<string, "error" | "warning">> | undefined
  /** Size in bytes above which a state is compressed. Defaults to 4,096. */
  readonly compressAbove?: number | undefined
  /** What to remove with each save. Defaults to nothing. */
  readonly retention?: Retention | undefined
}

/**
 * Defines a checkpoint, once, at the top of a module.
 *
 * @example
 * ```ts
 * import { Checkpoint, Storage } from "effect-recovery"
 * import { Effect, Option, Schema } from "effect"
 *
 * const Progress = Checkpoint.make("progress", {
 *   schema: Schema.Struct({ files_processed: Schema.Number, total: Schema.Number })
 * })
 *
 * const program = Effect.gen(function* () {
 *   yield* Progress.save({ files_processed: 40, total: 100 }, { labels: { repository: "shop" } })
 *   const latest = yield* Progress.latest()
 *   return Option.map(latest, ({ state }) => state.files_processed)
 * })
 *
 * program.pipe(Effect.provide(Storage.layerMemory), Effect.runPromise).then(console.log)
 * // { _id: 'Option', _tag: 'Some', value: 40 }
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <S, I, R, RC = never, RM = never>(
  name: string,
  options: Options<S, I, R, RC, RM>
): Checkpoint<S, R | RM, RC> =>
  // The options say what the schema, its migrations and the checks need.
  makeCheckpoint(name, options) as unknown as Checkpoint<S, R | RM, RC>

/**
 * From the schema of one version to that of the next.
 *
 * @example
 * ```ts
 * import { Checkpoint } from "effect-recovery"
 * import { Schema } from "effect"
 *
 * const V1 = Schema.Struct({ done: Schema.Number })
 * const V2 = Schema.Struct({ done: Schema.Number, total: Schema.NullOr(Schema.Number) })
 *
 * export const Progress = Checkpoint.make("progress", {
 *   schema: V2,
 *   version: 2,
 *   migrations: { 1: Checkpoint.migration(V1, V2, (v1) => ({ ...v1, total: null })) }
 * })
 * ```
 *
 * @since 0.1.0
 * @category migrations
 */
export const migration = <A, AI, R1, B, BI, R2>(
  from: Schema.Schema<A, AI, R1>,
  to: Schema.Schema<B, BI, R2>,
  migrate: (state: A) => NoInfer<B>
): Migration<R1 | R2> => ({ _R: (_) => _, migration: { from, to, migrate } })

/**
 * Compares the recorded environment with that of now: what is missing or
 * different is a warning, unless it says otherwise.
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
      onFailure: (error) => [{ subject: "environment", message: `it cannot be told: ${error}` }],
      onSuccess: (values) =>
        Object.entries(info.environment).flatMap(([subject, recorded]) => {
          const value = Object.hasOwn(values, subject) ? values[subject] : undefined
          if (value === recorded) return []
          return [{ subject, message: value === undefined ? "it is missing" : `it is ${value}, and was ${recorded}` }]
        })
    })
})

/**
 * Looks whether the recorded artifacts are there, with their size and digest
 * if those were recorded. `inspect` tells what there is under a path: a file,
 * or whatever paths mean to the program. A warning, unless it says otherwise.
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
          onFailure: (error) => [`it cannot be looked at: ${error}`],
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
 * Looks whether something a checkpoint relies on can be reached: the probe
 * succeeds. An error, unless it says otherwise.
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

/**
 * Takes a snapshot now, and puts it back if the scope fails or is interrupted.
 * Of a `State` the cell is put back as it was. Of a `Ref` the value is; give
 * its schema if somebody might change it in place.
 *
 * @example
 * ```ts
 * import { Checkpoint } from "effect-recovery"
 * import { Effect, Ref } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const stock = yield* Ref.make(10)
 *   const order = Effect.gen(function* () {
 *     yield* Checkpoint.scoped(stock)
 *     yield* Ref.update(stock, (n) => n - 3)
 *     yield* Effect.fail("declined")
 *   })
 *   yield* Effect.ignore(Effect.scoped(order))
 *   return yield* Ref.get(stock)
 * })
 *
 * Effect.runPromise(program).then(console.log) // 10
 * ```
 *
 * @since 0.1.0
 * @category scopes
 */
export const scoped: {
  <A, R>(state: State.ReadOnly<A, R>): Effect.Effect<void, never, Scope.Scope | State.Cells>
  <A>(ref: Ref.Ref<A>): Effect.Effect<void, never, Scope.Scope>
  <A, I, R>(ref: Ref.Ref<A>, schema: Schema.Schema<A, I, R>): Effect.Effect<void, never, Scope.Scope | R>
} = scoped_.scoped as never

/**
 * All checkpoints, whatever their name.
 *
 * @since 0.1.0
 * @category operations
 */
export const list = (
  query: Query & { readonly name?: string | undefined } = {}
): Effect.Effect<ReadonlyArray<Info>, Storage.StorageError, Storage.Storage> =>
  Effect.flatMap(Storage.Storage, (storage) => Effect.map(cleanup_.all(storage, query), (all) => all.map(infoOf)))

/**
 * Of all checkpoints.
 *
 * @since 0.1.0
 * @category operations
 */
export const stats: Effect.Effect<Stats, Storage.StorageError, Storage.Storage> = Effect.flatMap(
  Storage.Storage,
  (storage) => cleanup_.stats(storage, {})
)

/**
 * Removes checkpoints by age and by count, and answers with how many. The
 * newest valid one of each run without an outcome stays.
 *
 * @since 0.1.0
 * @category operations
 */
export const cleanup = (
  retention: Retention & {
    readonly name?: string | undefined
    readonly labels?: Readonly<Record<string, string>> | undefined
  }
): Effect.Effect<number, Storage.StorageError, Storage.Storage> =>
  Effect.flatMap(Storage.Storage, (storage) => cleanup_.cleanup(storage, retention))
