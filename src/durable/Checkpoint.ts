/**
 * A checkpoint is a named, typed snapshot of a program's state. It is validated
 * before it is used: its bytes by a digest, its schema by a version, and what it
 * relies on by your own checks.
 *
 * Saved in a step or in the body of a workflow, it belongs to the run, and the
 * run can be rewound to it. Saved elsewhere, it belongs to no run.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Ref from "effect/Ref"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { JournalError } from "../journal/RunError.js"
import { InvalidOption } from "../resilience/InvalidOption.js"
import * as Storage from "../storage/Storage.js"
import type { Check } from "./CheckpointCheck.js"
import { type CheckpointInvalid, CheckpointNotFound, type Problem } from "./CheckpointError.js"
import type { Artifact, Info } from "./CheckpointInfo.js"
import type { Query, Removal, Retention, Stats, StreamQuery } from "./CheckpointQuery.js"
import { anyState, check, validityOf } from "./internal/checkpoint/checks.js"
import * as cleanup_ from "./internal/checkpoint/cleanup.js"
import { infoOf } from "./internal/checkpoint/info.js"
import { type Entry as AnyEntry, makeCheckpoint, saveAll as saveAll_ } from "./internal/checkpoint/operations.js"
import * as query_ from "./internal/checkpoint/query.js"
import * as scoped_ from "./internal/checkpoint/scoped.js"
import { type Migration as AnyMigration, isIntact as isIntact_ } from "./internal/checkpoint/stateCodec.js"
import type * as State from "./State.js"

/** @since 0.1.0 */
export * from "./CheckpointCheck.js"
/** @since 0.1.0 */
export * from "./CheckpointError.js"
/** @since 0.1.0 */
export * from "./CheckpointInfo.js"
/** @since 0.1.0 */
export * from "./CheckpointQuery.js"
export {
  /**
   * @since 0.1.0
   * @category errors
   */
  InvalidOption
}

/**
 * The kind of a checkpoint. A label for queries: it changes no behaviour.
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
  /** Problems of severity `warning`. */
  readonly warnings: ReadonlyArray<Problem>
}

/**
 * The result of `validate`.
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
 * Turns a state of one version into one of the next.
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
 * Facts recorded with a checkpoint.
 *
 * @since 0.1.0
 * @category models
 */
export interface SaveOptions {
  /** Defaults to the kind of the checkpoint. */
  readonly kind?: Kind | undefined
  /**
   * Your own id of it. Outside of runs a key exists once per name, in a step once
   * per name and step. In the body of a workflow each save is kept, because the run
   * can be rewound to it.
   */
  readonly key?: string | undefined
  /**
   * What to do if a checkpoint with this key exists: `replace` removes it, and the
   * new one gets a new id; `keep` saves nothing and returns the existing one. Defaults
   * to `replace`.
   */
  readonly ifKeyExists?: "replace" | "keep" | undefined
  /** What the state relies on, such as versions of tools. For the check `environment`. */
  readonly environment?: Readonly<Record<string, string>> | undefined
  /** Names of systems that the state relies on. Each needs a check that covers it. */
  readonly dependencies?: ReadonlyArray<string> | undefined
  /** Files that the state relies on. Of a path alone only the existence is checked. */
  readonly artifacts?: ReadonlyArray<string | Artifact> | undefined
  /** For queries, such as repository and commit. Each label is indexed. */
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** Further facts. Must have a JSON form. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined
}

/**
 * When `saveIfDue` saves.
 *
 * @since 0.1.0
 * @category models
 */
export interface Due {
  /** The time since the last checkpoint; 0 always saves. Defaults to 5 minutes. Ignored if `progress` is given. */
  readonly interval?: Duration.DurationInput | undefined
  /**
   * How much of the work is done, from 0 to 1. Saves if a milestone was reached since the last checkpoint of the
   * same kind, by default `milestone`. Recorded as `metadata.progress`. Progress below that of the last checkpoint
   * means that the work started again. NaN, such as 0 of 0, reaches no milestone.
   */
  readonly progress?: number | undefined
  /** Each above 0 and at most 1. Defaults to 0.25, 0.5, 0.75 and 1. */
  readonly milestones?: ReadonlyArray<number> | undefined
}

/**
 * A checkpoint to save together with others: see {@link saveAll}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Entry<out R = never> {
  readonly _R: (_: never) => R
  /** @internal */
  readonly entry: AnyEntry
}

/** Failures of the storage. Inside of a run they stop the run, so a program never sees them there. */
type StorageFailure = Storage.StorageError | JournalError

/**
 * The definition of a checkpoint: name, schema and checks. `R` are the
 * requirements of its schema, `RC` those of its checks.
 *
 * @since 0.1.0
 * @category models
 */
export interface Checkpoint<in out S, out R = never, out RC = never> {
  readonly name: string
  /**
   * Saves a snapshot. In the body of a workflow it is saved once, and a resume
   * returns the recorded one. In a step, each execution of the step saves again.
   */
  readonly save: (state: S, options?: SaveOptions) => Effect.Effect<Info, StorageFailure, Storage.Storage | R>
  /** A checkpoint for {@link saveAll}. */
  readonly entry: (state: S, options?: SaveOptions) => Entry<R>
  /** Saves if the interval has passed, or if the work has reached a milestone. */
  readonly saveIfDue: (
    state: S,
    options?: SaveOptions & Due
  ) => Effect.Effect<Option.Option<Info>, StorageFailure, Storage.Storage | R>
  /** Saves in the background at an interval of at least 1 millisecond, and once more when the scope closes. */
  readonly saveEvery: <E, R2>(
    state: Effect.Effect<S, E, R2>,
    interval: Duration.DurationInput,
    options?: SaveOptions
  ) => Effect.Effect<void, never, Storage.Storage | Scope.Scope | R | R2>
  /**
   * The first one: the newest, unless the query has another order. Verifies digest and schema, but runs no checks: `restore` does.
   * In the body of a workflow, a resume reads the same one again.
   */
  readonly latest: (
    query?: Omit<Query, "limit">
  ) => Effect.Effect<
    Option.Option<Restored<S>>,
    CheckpointInvalid | CheckpointNotFound | StorageFailure,
    Storage.Storage | R
  >
  /** Checkpoints without their states: all that match, unless the query has a limit. */
  readonly list: (query?: Query) => Effect.Effect<ReadonlyArray<Info>, StorageFailure, Storage.Storage>
  /**
   * Checkpoints with their states, read page by page. Verifies digest and schema as
   * `latest` does, and fails at the first one that is not valid. Checkpoints that are
   * saved or removed while it reads may be part of it or not. In the body of a
   * workflow, a resume reads the same ones again.
   */
  readonly stream: (
    query?: StreamQuery
  ) => Stream.Stream<Restored<S>, CheckpointInvalid | CheckpointNotFound | StorageFailure, Storage.Storage | R>
  /**
   * Removes the checkpoint with this id, or all that match. Returns how many it removed. Outside
   * of runs, only those of no run match unless the removal names a run. Fails with
   * `InvalidOption`, and removes nothing, if it names no condition.
   */
  readonly remove: (which: string | Removal) => Effect.Effect<number, InvalidOption | StorageFailure, Storage.Storage>
  /** Runs all checks, then reads the state. Inside of a run, the checkpoint must belong to that run. */
  readonly restore: (
    id: string
  ) => Effect.Effect<Restored<S>, CheckpointNotFound | CheckpointInvalid | StorageFailure, Storage.Storage | R | RC>
  /** Runs all checks and returns all problems. */
  readonly validate: (
    id: string
  ) => Effect.Effect<Validity, CheckpointNotFound | StorageFailure, Storage.Storage | R | RC>
  /** Whether `validate` finds no error. False if the checkpoint is missing or the storage fails. */
  readonly isValid: (id: string) => Effect.Effect<boolean, never, Storage.Storage | R | RC>
  readonly stats: (query?: Omit<Query, "limit">) => Effect.Effect<Stats, StorageFailure, Storage.Storage>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<S, I, R, RC, RM> {
  /** If it encodes to a `Uint8Array`, as `Schema.Uint8ArrayFromSelf` does, states are stored as bytes; otherwise as JSON. */
  readonly schema: Schema.Schema<S, I, R>
  /** A whole number of at least 0. Raise it when the schema changes, and add a migration from the version before. Defaults to 1. */
  readonly version?: number | undefined
  /** By the version they migrate from. */
  readonly migrations?: Readonly<Record<number, Migration<RM>>> | undefined
  /** Defaults to `manual`. */
  readonly kind?: Kind | undefined
  /** Run before a state is restored. Defaults to none. */
  readonly checks?: ReadonlyArray<Check<RC>> | undefined
  /** Overrides the severity of problems, by the name of the check. */
  readonly severities?: Readonly<Record<string, "error" | "warning">> | undefined
  /** Compresses states that are larger, in bytes: 0 compresses all, `Infinity` none. Defaults to 4,096. */
  readonly compressAbove?: number | undefined
  /** Which older checkpoints each save removes. Defaults to none. */
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
  // The requirements of schema, migrations and checks are those of the options.
  makeCheckpoint(name, options) as unknown as Checkpoint<S, R | RM, RC>

/**
 * A migration from the schema of one version to that of the next.
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
 * Takes a snapshot, and restores it if the scope closes with failure or
 * interruption. Restores the cell of a `State`, or the value of a `Ref`. Pass the
 * schema of a `Ref` if its value may be changed in place.
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
  /** Takes a snapshot of the cell, and restores it if the scope closes with failure or interruption. */
  <A, R>(state: State.ReadOnly<A, R>): Effect.Effect<void, never, Scope.Scope | State.Cells>
  /**
   * Keeps the value of the `Ref`, and sets it again if the scope closes with failure or interruption.
   * Give the schema, too, if the value may be changed in place.
   */
  <A>(ref: Ref.Ref<A>): Effect.Effect<void, never, Scope.Scope>
  /**
   * Takes a snapshot of the value of the `Ref` with the schema, and restores it if the scope closes with
   * failure or interruption, also if the value was changed in place.
   */
  <A, I, R>(ref: Ref.Ref<A>, schema: Schema.Schema<A, I, R>): Effect.Effect<void, never, Scope.Scope | R>
} = scoped_.scoped as never

/**
 * Saves several checkpoints, of one name or of several, in one transaction:
 * all or none. Returns them in the order they were given. In the body of a
 * workflow each is saved by itself, and a resume saves those that are missing.
 *
 * @example
 * ```ts
 * import { Checkpoint, Storage } from "effect-recovery"
 * import { Effect, Schema } from "effect"
 *
 * const Document = Checkpoint.make("document", { schema: Schema.Uint8ArrayFromSelf })
 * const Draft = Checkpoint.make("draft", { schema: Schema.Struct({ title: Schema.String }) })
 *
 * const program = Checkpoint.saveAll([
 *   Document.entry(new Uint8Array([1, 2, 3]), { key: "letter" }),
 *   Draft.entry({ title: "Letter" }, { key: "letter", labels: { author: "ada" } })
 * ])
 *
 * program.pipe(Effect.provide(Storage.layerMemory), Effect.runPromise).then((saved) => console.log(saved.length)) // 2
 * ```
 *
 * @since 0.1.0
 * @category operations
 */
export const saveAll = <R = never>(
  entries: ReadonlyArray<Entry<R>>
): Effect.Effect<ReadonlyArray<Info>, StorageFailure, Storage.Storage | R> =>
  // The requirements of the schemas are those of the entries.
  saveAll_(entries.map(({ entry }) => entry)) as Effect.Effect<ReadonlyArray<Info>, StorageFailure, Storage.Storage | R>

/**
 * Lists checkpoints of all names, without their states: all that match, unless
 * the query has a limit.
 *
 * @since 0.1.0
 * @category operations
 */
export const list = (
  query: Query & { readonly name?: string | undefined } = {}
): Effect.Effect<ReadonlyArray<Info>, Storage.StorageError, Storage.Storage> =>
  Effect.flatMap(Storage.Storage, (storage) => query_.listInfos(storage, query_.toQuery(query, undefined, query.name)))

/**
 * Removes the checkpoint with this id, or all checkpoints that match, of any
 * name. Returns how many it removed. Only those of no run match, unless the removal
 * names a run. Fails with `InvalidOption`, and removes nothing, if it names no
 * condition. Unlike {@link cleanup} it also removes what a run without an outcome
 * could be rewound to.
 *
 * @example
 * ```ts
 * import { Checkpoint, Storage } from "effect-recovery"
 * import { Effect, Schema } from "effect"
 *
 * const Draft = Checkpoint.make("draft", { schema: Schema.String })
 *
 * const program = Effect.gen(function* () {
 *   yield* Draft.save("Dear Charles", { key: "letter", labels: { author: "ada" } })
 *   return yield* Checkpoint.remove({ labels: { author: "ada" } })
 * })
 *
 * program.pipe(Effect.provide(Storage.layerMemory), Effect.runPromise).then(console.log) // 1
 * ```
 *
 * @since 0.1.0
 * @category operations
 */
export const remove = (
  which: string | (Removal & { readonly name?: string | undefined })
): Effect.Effect<number, InvalidOption | Storage.StorageError, Storage.Storage> =>
  Effect.flatMap(
    Effect.zip(Storage.Storage, query_.removalQuery(which, null, typeof which === "string" ? undefined : which.name)),
    ([storage, query]) => query_.removeMatching(storage, query)
  )

/**
 * The checkpoint with this id, whatever its name.
 *
 * @since 0.1.0
 * @category operations
 */
export const find = (id: string): Effect.Effect<Info, CheckpointNotFound | Storage.StorageError, Storage.Storage> =>
  Effect.flatMap(Storage.Storage, (storage) =>
    Effect.flatMap(query_.findAny(storage, id), (found) =>
      Option.isSome(found) ? Effect.succeed(infoOf(found.value)) : Effect.fail(new CheckpointNotFound({ id }))
    )
  )

/**
 * Validates a checkpoint without its definition: its bytes, and what it relies
 * on by the given checks. Recorded facts that no check covers are problems, as
 * in `validate` of a definition, which also checks the schema of the state.
 *
 * @example
 * ```ts
 * import { Checkpoint, Storage } from "effect-recovery"
 * import { Effect, Schema } from "effect"
 *
 * const Build = Checkpoint.make("build", { schema: Schema.Struct({ target: Schema.String }) })
 *
 * const program = Effect.gen(function* () {
 *   const { id } = yield* Build.save({ target: "linux" }, { dependencies: ["registry"] })
 *   const unchecked = yield* Checkpoint.validate(id)
 *   const checked = yield* Checkpoint.validate(id, [Checkpoint.dependency("registry", Effect.void)])
 *   return [unchecked.isValid, checked.isValid]
 * })
 *
 * program.pipe(Effect.provide(Storage.layerMemory), Effect.runPromise).then(console.log) // [ false, true ]
 * ```
 *
 * @since 0.1.0
 * @category operations
 */
export const validate = <R = never>(
  id: string,
  checks: ReadonlyArray<Check<R>> = []
): Effect.Effect<Validity, CheckpointNotFound | Storage.StorageError, Storage.Storage | R> =>
  Effect.flatMap(
    Storage.Storage,
    (storage) =>
      Effect.flatMap(query_.findAny(storage, id), (found) =>
        Option.isSome(found)
          ? Effect.flatMap(
              check(found.value, infoOf(found.value), { codec: anyState, checks, severities: {}, run: undefined }),
              ({ problems }) => validityOf(problems)
            )
          : Effect.fail(new CheckpointNotFound({ id }))
      )
    // The checks need `R`.
  ) as Effect.Effect<Validity, CheckpointNotFound | Storage.StorageError, Storage.Storage | R>

/**
 * Whether the stored state matches its digest. False if the storage fails.
 *
 * @since 0.1.0
 * @category operations
 */
export const isIntact = (id: string): Effect.Effect<boolean, never, Storage.Storage> =>
  Effect.flatMap(Storage.Storage, (storage) => isIntact_(storage, id))

/**
 * Statistics of all checkpoints.
 *
 * @since 0.1.0
 * @category operations
 */
export const stats: Effect.Effect<Stats, Storage.StorageError, Storage.Storage> = Effect.flatMap(
  Storage.Storage,
  (storage) => query_.statsOf(storage, {})
)

/**
 * Removes checkpoints by age and by count. Returns how many it removed. The
 * newest intact one of each run without an outcome stays. Fails with
 * `InvalidOption`, and removes nothing, if an option is invalid.
 *
 * @since 0.1.0
 * @category operations
 */
export const cleanup = (
  retention: Retention & {
    readonly name?: string | undefined
    readonly labels?: Readonly<Record<string, string>> | undefined
  }
): Effect.Effect<number, Storage.StorageError | InvalidOption, Storage.Storage> =>
  Effect.flatMap(Storage.Storage, (storage) => cleanup_.cleanup(storage, retention))
