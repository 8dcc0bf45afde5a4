/**
 * A state is a typed cell of a run. Writes are recorded in the journal: a resume
 * replays them, and a rollback or a rewind revokes them. Other runs do not see the
 * cell, unless its scope is `global`.
 *
 * The writes of a step are recorded together with its result. An attempt that
 * fails or is interrupted writes nothing.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type * as Types from "effect/Types"
import { loadJournal } from "../journal/Journal.js"
import { type JournalError, RunNotFound } from "../journal/RunError.js"
import { hasHidden, hideSecrets } from "../journal/Secrets.js"
import { messageOf } from "../resilience/Foreign.js"
import { wholeOrInfinity } from "../resilience/internal/kernel/options.js"
import { escapeName } from "../resilience/Key.js"
import * as Storage from "../storage/Storage.js"
import type { Written } from "./internal/execution/cells.js"
import * as cell_ from "./internal/state/cell.js"
import { cellsOfJournal } from "./internal/state/cells.js"
import { CellsTag, volatileCells } from "./internal/state/service.js"

/**
 * The service that holds the cells: the surrounding run, or {@link layer}.
 *
 * @since 0.1.0
 * @category services
 */
export const Cells: typeof CellsTag = CellsTag
/**
 * @since 0.1.0
 * @category services
 */
export type Cells = CellsTag

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: TypeId = "~effect-recovery/State"
/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = "~effect-recovery/State"

/**
 * @since 0.1.0
 * @category type ids
 */
export interface Marker<out A, out R> {
  readonly _A: Types.Covariant<A>
  readonly _R: Types.Covariant<R>
}

/**
 * A right to use a cell: the `Context.Tag` of a service. Code that needs the right
 * compiles only where the service is provided.
 *
 * @since 0.1.0
 * @category models
 */
export interface Right<out R> extends Effect.Effect<unknown, never, R> {
  /** The key of the tag. */
  readonly key: string
}

/**
 * A cell that can be read.
 *
 * @since 0.1.0
 * @category models
 */
export interface ReadOnly<out A, out R = never> {
  readonly [TypeId]: Marker<A, R>
  readonly name: string
  readonly get: Effect.Effect<A, never, Cells | R>
  /** The current value, then each change made in this process. */
  readonly changes: Stream.Stream<A, never, Cells | R>
  /** The values that were written, newest first. `limit` defaults to 100; 0 returns none, `Infinity` all. */
  readonly history: (limit?: number) => Effect.Effect<ReadonlyArray<Past<A>>, never, Cells | R>
  /** @internal */
  readonly cell: cell_.Cell<unknown>
  /** The value is neither exported nor readable from outside the run. Default: false. */
  readonly isPrivate: boolean
  /** The key of the tag whose service a writer must have; `undefined` if all may write. */
  readonly owner: string | undefined
  readonly tags: ReadonlyArray<string>
  /** @internal */
  readonly refusal: (next: unknown) => Effect.Effect<string | undefined, never, Cells | R>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Past<out A> {
  readonly value: A
  readonly at: Date
}

/**
 * A cell that can be read and written. `E` is `StateRejected` if it has a
 * validator. `O` is the service that its owner has.
 *
 * @since 0.1.0
 * @category models
 */
export interface State<in out A, out E = never, out R = never, out O = never> extends ReadOnly<A, R> {
  readonly [TypeId]: Marker<A, R> & {
    readonly _W: Types.Contravariant<A>
    readonly _E: Types.Covariant<E>
    readonly _O: Types.Covariant<O>
  }
  readonly set: (value: A) => Effect.Effect<void, E, Cells | R | O>
  readonly update: (change: (current: A) => A) => Effect.Effect<void, E, Cells | R | O>
  /** Writes the initial value. */
  readonly reset: Effect.Effect<void, E, Cells | R | O>
}

/**
 * A validator rejected a value. The cell keeps its previous value.
 *
 * @since 0.1.0
 * @category errors
 */
export class StateRejected extends Schema.TaggedError<StateRejected>("effect-recovery/StateRejected")("StateRejected", {
  state: Schema.String,
  /** The reason that the validator returned. */
  reason: Schema.String
}) {
  override get message(): string {
    return `State "${this.state}" rejected the value: ${this.reason}. It keeps its previous value.`
  }
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Change<out A> {
  readonly previous: A
  readonly next: A
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<in out A, out R = never, out O = never, out RR = never> {
  /**
   * `workflow`: one value per run. `local`: one value per `Workflow.section`.
   * `global`: one value for all runs of the storage; no rollback changes it, and
   * writes of a step take effect at once. Defaults to `workflow`.
   */
  readonly scope?: "local" | "workflow" | "global" | undefined
  /** The cell has its initial value again this long after the last write, at least 1 millisecond. Defaults to no limit. */
  readonly ttl?: Duration.DurationInput | undefined
  /** Neither exported nor readable from outside of the run, and hidden in its history. Defaults to false. */
  readonly private?: boolean | undefined
  /**
   * The service that a writer must have. Defaults to none. Rollbacks and restores
   * need no right.
   */
  readonly owner?: Right<O> | undefined
  /** The service that a reader must have, and so must a writer. Defaults to none. */
  readonly readers?: Right<RR> | undefined
  /** For `tagged` of a {@link group}. */
  readonly tags?: ReadonlyArray<string> | undefined
  /** Runs before each change, even one that the validator then rejects. */
  readonly before?: ((change: Change<A>) => Effect.Effect<void, never, R>) | undefined
  /** Runs after each change, but not when a resume replays the change from the journal. */
  readonly after?: ((change: Change<A>) => Effect.Effect<void, never, R>) | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Validated<in A> {
  /** Returns why the value is rejected; `undefined` accepts it. */
  readonly validate: (next: A, previous: A) => string | undefined
}

/**
 * A cell of a run, defined once, at the top of a module.
 *
 * @example
 * ```ts
 * import { State, Step, Storage, Workflow } from "effect-recovery"
 * import { Effect, Schema } from "effect"
 *
 * const Done = State.make("done", Schema.Number, 0)
 *
 * const work = Step.make("work", { run: Done.update((n) => n + 1) })
 *
 * const Job = Workflow.make("job", { success: Schema.Number }, () =>
 *   Effect.repeatN(work, 2).pipe(Effect.zipRight(Done.get))
 * )
 *
 * Workflow.execute(Job, { id: "1" }).pipe(
 *   Effect.provide(Storage.layerMemory),
 *   Effect.runPromise
 * ).then(console.log) // 3
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make: {
  /** A cell of a run that the program only reads. */
  <A, I, R, R2 = never, RR = never>(
    name: string,
    schema: Schema.Schema<A, I, R>,
    initial: NoInfer<A>,
    options: Options<NoInfer<A>, R2, never, RR> & { readonly readOnly: true }
  ): ReadOnly<A, R | RR>
  /**
   * A cell of a run whose new values pass `validate` first: `set` and `update` can fail with
   * `StateRejected`.
   */
  <A, I, R, R2 = never, O = never, RR = never>(
    name: string,
    schema: Schema.Schema<A, I, R>,
    initial: NoInfer<A>,
    options: Options<NoInfer<A>, R2, O, RR> & Validated<NoInfer<A>>
  ): State<A, StateRejected, R | R2 | RR, O>
  /** A cell of a run, defined once, at the top of a module. `initial` is its value until it is set. */
  <A, I, R, R2 = never, O = never, RR = never>(
    name: string,
    schema: Schema.Schema<A, I, R>,
    initial: NoInfer<A>,
    options?: Options<NoInfer<A>, R2, O, RR>
  ): State<A, never, R | R2 | RR, O>
} = <A, I, R, R2, O, RR>(
  name: string,
  schema: Schema.Schema<A, I, R>,
  initial: A,
  options: Options<A, R2, O, RR> & Partial<Validated<A>> = {}
): never => {
  const { owner, readers, scope = "workflow", tags = [], ttl } = options
  const cell = cell_.makeCell(schema, { name, scope }, initial, ttl, options.private)
  const reading = withRight(readers)
  const writing = (change: (current: A) => A) => reading(withRight(owner)(write<A, R, R2>(cell, options, change)))
  const state: State<A, StateRejected, R | R2 | RR, O> = {
    [TypeId]: variance,
    name,
    cell: cell as cell_.Cell<unknown>,
    isPrivate: options.private === true,
    owner: owner?.key,
    tags,
    refusal: (next) =>
      // `next` was decoded with the schema of the cell.
      Effect.map(cell_.get<A, R>(cell), (previous) => options.validate?.(next as A, previous)),
    get: reading(cell_.get<A, R>(cell)),
    set: (value) => writing(() => value),
    update: writing,
    reset: writing(() => initial),
    changes:
      readers === undefined ? changesOf<A, R>(cell) : Stream.unwrap(reading(Effect.sync(() => changesOf<A, R>(cell)))),
    history: (limit = 100) => reading(historyOf<A, R>(cell, limit))
  }
  // The overloads hide the operations that the options do not allow.
  return state as never
}

/** The types ensure that the right is provided. Without types, the missing service fails here. */
const withRight =
  <H>(right: Right<H> | undefined) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | H> =>
    right === undefined ? self : Effect.zipRight(right, self)

const variance = {
  _A: (_: never) => _,
  _W: (_: unknown) => {},
  _E: (_: never) => _,
  _R: (_: never) => _,
  _O: (_: never) => _
}

const write = <A, R, R2>(
  cell: cell_.Cell<A>,
  { after, before, validate }: Pick<Options<A, R2>, "after" | "before"> & Partial<Validated<A>>,
  change: (current: A) => A
): Effect.Effect<void, StateRejected, Cells | R | R2> =>
  Effect.suspend(() => {
    let made: Change<A> | undefined
    const next = (previous: A): Effect.Effect<A, StateRejected, R2> =>
      Effect.suspend(() => {
        const wanted = { previous, next: change(previous) }
        const checked = Effect.suspend(() => {
          const reason = validate?.(wanted.next, previous)
          if (reason !== undefined) return Effect.fail(new StateRejected({ state: cell.address.name, reason }))
          made = wanted
          return Effect.succeed(wanted.next)
        })
        return before === undefined ? checked : Effect.zipRight(before(wanted), checked)
      })
    const written = cell_.write<A, StateRejected, R, R2>(cell, next)
    if (after === undefined) return written
    // Without `made`, the change was replayed from the journal.
    return Effect.tap(written, () => (made === undefined ? Effect.void : after(made)))
  })

const changesOf = <A, R>(cell: cell_.Cell<A>): Stream.Stream<A, never, Cells | R> =>
  Stream.unwrap(
    Effect.map(CellsTag, (cells) => {
      // Listens before it reads, so that no change between the two is lost.
      const written = Stream.asyncPush<Written | undefined>((emit) =>
        Effect.acquireRelease(
          Effect.zipLeft(
            cells.listen(cell.address, (written) => emit.single(written)),
            Effect.map(cells.history(cell.address, 1), ([written]) => emit.single(written))
          ),
          (stop) => Effect.sync(stop)
        )
      )
      return Stream.mapEffect(written, (written) => cell_.decode<A, R>(cell, written))
    })
  )

const historyOf = <A, R>(cell: cell_.Cell<A>, limit: number): Effect.Effect<ReadonlyArray<Past<A>>, never, Cells | R> =>
  Effect.flatMap(CellsTag, (cells) =>
    Effect.flatMap(cells.history(cell.address, wholeOrInfinity("limit", limit, 0)), (all) =>
      Effect.forEach(all, (written) =>
        Effect.map(cell_.decode<A, R>({ ...cell, ttl: undefined }, written), (value) => ({
          value,
          at: new Date(written.at)
        }))
      )
    )
  )

/**
 * Cells outside of runs. They live as long as the layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Cells> = Layer.sync(CellsTag, volatileCells)

/**
 * Several cells as one.
 *
 * @since 0.1.0
 * @category groups
 */
export interface Group<S extends Members> {
  readonly get: Effect.Effect<{ readonly [K in keyof S]: ValueOf<S[K]> }, never, Cells | RequirementsOf<S[keyof S]>>
  /** Writes the given values. */
  readonly set: (
    values: { readonly [K in keyof S]?: ValueOf<S[K]> }
  ) => Effect.Effect<void, ErrorOf<S[keyof S]>, Cells | WritingOf<S[keyof S]>>
  readonly reset: Effect.Effect<void, ErrorOf<S[keyof S]>, Cells | WritingOf<S[keyof S]>>
  /** The cells that are not private, as JSON. `Redacted` parts of their values are hidden. */
  readonly exportJson: Effect.Effect<string, never, Cells | RequirementsOf<S[keyof S]>>
  /**
   * Writes all values of an export, or none if one is rejected, such as one whose secrets the export has hidden. Other
   * cells keep their value.
   */
  readonly importJson: (
    json: string
  ) => Effect.Effect<void, StateRejected | ErrorOf<S[keyof S]>, Cells | WritingOf<S[keyof S]>>
  /** The cells with this tag, as a group. */
  readonly tagged: (tag: string) => Group<Partial<S>>
}

/**
 * @since 0.1.0
 * @category groups
 */
export interface Members {
  // biome-ignore lint/suspicious/noExplicitAny: a cell is invariant in its value, so no other type includes all cells
  readonly [name: string]: State<any, unknown, unknown, unknown> | undefined
}

/**
 * @since 0.1.0
 * @category groups
 */
export type ValueOf<S> = S extends { readonly [TypeId]: { readonly _A: Types.Covariant<infer A> } } ? A : never

/**
 * @since 0.1.0
 * @category groups
 */
export type ErrorOf<S> = S extends { readonly [TypeId]: { readonly _E: Types.Covariant<infer E> } } ? E : never

/**
 * @since 0.1.0
 * @category groups
 */
export type RequirementsOf<S> = S extends { readonly [TypeId]: { readonly _R: Types.Covariant<infer R> } } ? R : never

/**
 * The requirements of a write.
 *
 * @since 0.1.0
 * @category groups
 */
export type WritingOf<S> =
  | RequirementsOf<S>
  | (S extends { readonly [TypeId]: { readonly _O: Types.Covariant<infer O> } } ? O : never)

/**
 * Reads, writes, exports and imports several cells together.
 *
 * @since 0.1.0
 * @category groups
 */
export const group = <const S extends Members>(members: S): Group<S> => {
  // Optional members may be undefined.
  const entries = Object.entries(members).filter(([, state]) => state !== undefined) as ReadonlyArray<
    readonly [keyof S & string, State<unknown, unknown, unknown, unknown>]
  >
  const shown = entries.filter(([, state]) => !state.isPrivate)
  const setAll = (values: Readonly<Record<string, unknown>>) =>
    Effect.forEach(
      entries.filter(([name]) => Object.hasOwn(values, name)),
      ([name, state]) => state.set(values[name]),
      { discard: true }
    )
  const made: Group<Members> = {
    get: Effect.map(
      Effect.forEach(entries, ([name, { get }]) => Effect.map(get, (value) => [name, value] as const)),
      (values) => Object.fromEntries(values)
    ),
    set: setAll,
    reset: Effect.forEach(entries, ([, { reset }]) => reset, { discard: true }),
    exportJson: Effect.map(
      Effect.forEach(shown, ([name, { cell, get }]) =>
        Effect.map(
          Effect.flatMap(get, (value) => cell_.encode(cell, value)),
          (text) => [name, text === undefined ? undefined : JSON.parse(hideSecrets(text))] as const
        )
      ),
      (values) => JSON.stringify(Object.fromEntries(values))
    ),
    importJson: (json) =>
      Effect.gen(function* () {
        const record = yield* Effect.try({
          try: () => toRecord(JSON.parse(json)),
          catch: (cause) => rejected("the import", cause)
        })
        const values: Array<readonly [name: string, value: unknown]> = []
        for (const [name, { cell, refusal }] of shown) {
          if (!Object.hasOwn(record, name)) continue
          const decoded = cell.codec.decode(JSON.stringify(record[name]))
          const value = yield* Effect.mapError(decoded, (cause) => rejected(name, cause))
          const text = yield* cell_.encode(cell, value)
          const isHidden = text !== undefined && hasHidden(text)
          const reason = isHidden ? "the export has hidden its secrets" : yield* refusal(value)
          if (reason !== undefined) return yield* new StateRejected({ state: name, reason })
          values.push([name, value])
        }
        yield* setAll(Object.fromEntries(values))
      }),
    tagged: (tag) => group(Object.fromEntries(entries.filter(([, { tags }]) => tags.includes(tag))))
  }
  // The types of the group follow from those of its members.
  return made as unknown as Group<S>
}

const toRecord = (json: unknown): Readonly<Record<string, unknown>> => {
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw new Error("it is not a JSON object")
  return json as Readonly<Record<string, unknown>>
}

const rejected = (state: string, cause: unknown) => new StateRejected({ state, reason: messageOf(cause) })

/**
 * Reads a cell of any run from its journal. Returns none if the cell was never
 * written or is private. Only for cells with scope `workflow`.
 *
 * @since 0.1.0
 * @category inspection
 */
export const read = <S extends ReadOnly<unknown, unknown>>(
  state: S,
  run: string
): Effect.Effect<
  Option.Option<ValueOf<S>>,
  RunNotFound | JournalError | Storage.StorageError,
  Storage.Storage | RequirementsOf<S>
> =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const found = yield* storage.find(run)
    if (Option.isNone(found)) return yield* new RunNotFound({ run })
    const journal = yield* loadJournal(storage, found.value)
    const written = cellsOfJournal(journal).writes(escapeName(state.name)).at(-1)
    if (written === undefined || state.isPrivate) return Option.none()
    // `make` built the cell for values of this type.
    const cell = state.cell as cell_.Cell<ValueOf<S>>
    return Option.some(yield* cell_.read<ValueOf<S>, RequirementsOf<S>>(cell, written, run))
  })
