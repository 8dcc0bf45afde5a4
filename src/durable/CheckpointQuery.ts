/**
 * Which checkpoints to find, to keep and to remove.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as Option from "effect/Option"

/**
 * Which checkpoint comes first. The orders by key compare keys by their bytes in
 * UTF-8, and leave out checkpoints without a key.
 *
 * @since 0.1.0
 * @category models
 */
export type Order = "newest" | "oldest" | "highestKey" | "lowestKey"

/**
 * A point in a list: the id of a checkpoint, a time, or a key. The point itself
 * does not belong to either side.
 *
 * @since 0.1.0
 * @category models
 */
export type Cursor = string | Date | { readonly key: string }

/**
 * Which checkpoints to find. All conditions must hold.
 *
 * @since 0.1.0
 * @category models
 */
export interface Query {
  /**
   * Only those of this run; `"any"` for all. Defaults to the surrounding run, and
   * outside of runs to those that belong to no run.
   */
  readonly run?: string | undefined
  readonly kind?: string | undefined
  /** Only those that were saved under this key, or under one of these. */
  readonly key?: string | ReadonlyArray<string> | undefined
  /** Only those saved before this point, or with a lower key. No checkpoint lies before a text that is no id. */
  readonly before?: Cursor | undefined
  /** Only those saved after this point, or with a higher key. No checkpoint lies after a text that is no id. */
  readonly after?: Cursor | undefined
  /** Only those with all of these labels. Labels are indexed. */
  readonly labels?: Readonly<Record<string, string>> | undefined
  /**
   * Only those whose metadata has all of these properties with the same JSON.
   * Metadata is not indexed: it is compared for each checkpoint that the other
   * conditions leave.
   */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined
  /** Includes those that a rewind revoked. Defaults to false. */
  readonly rewound?: boolean | undefined
  /** Defaults to `newest`. */
  readonly order?: Order | undefined
  /** The most that are returned, a whole number of at least 0. Defaults to `Infinity`, all of them. */
  readonly limit?: number | undefined
}

/**
 * A query for checkpoints with their states.
 *
 * @since 0.1.0
 * @category models
 */
export interface StreamQuery extends Query {
  /** How many states are in memory at a time, a whole number of at least 1. Defaults to 50. */
  readonly pageSize?: number | undefined
}

/**
 * Which checkpoints to remove. Names at least one of `run`, `key`, `kind`,
 * `labels`, `metadata`, `before` and `after`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Removal extends Omit<Query, "limit" | "order"> {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Stats {
  readonly count: number
  /** The size of their states before compression. */
  readonly bytes: number
  readonly oldest: Option.Option<Date>
  readonly newest: Option.Option<Date>
  readonly byKind: Readonly<Record<string, number>>
  readonly byName: Readonly<Record<string, number>>
}

/**
 * Which checkpoints to keep. The newest intact one of a run without an outcome
 * is always kept.
 *
 * @since 0.1.0
 * @category models
 */
export interface Retention {
  /**
   * The maximum per run and name, at least 1. Those of no run count together, unless
   * `per` names labels. Defaults to no limit, as does `Infinity`.
   */
  readonly keep?: number | undefined
  /** Labels whose values are counted apart by `keep`. Checkpoints without one of these labels are not counted. */
  readonly per?: ReadonlyArray<string> | undefined
  /** Older ones are removed. Finite and above 0: `remove` removes without regard to age. Defaults to no limit. */
  readonly maxAge?: Duration.DurationInput | undefined
}
