/**
 * How a storage encodes what programs give it, before any of it is written:
 * typically encryption.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"

/**
 * Where a payload is stored. Bind it to the payload, such as additional
 * authenticated data, so that no payload can stand in the place of another kind.
 *
 * @since 0.1.0
 * @category models
 */
export type PayloadPlace = "input" | "exit" | "waiting" | "journal" | "signal" | "state" | "record"

/**
 * Encodes everything that programs store: inputs, results, errors, journal
 * lines, signals, answers, State, states of checkpoints, and records of failures
 * and recoveries. Not encoded, since the storage looks for them: ids, names, keys
 * and labels, the metadata and digests of checkpoints, times, and counters.
 *
 * Both functions may be asynchronous. If `decode` fails, such as for a wrong key,
 * the operation fails with the `StorageError` `Payload`, which names what cannot
 * be read; lists mark the row. What was stored before is still read as it is.
 *
 * @since 0.1.0
 * @category models
 */
export interface Payloads {
  readonly encode: (payload: Uint8Array, place: PayloadPlace) => Uint8Array | Effect.Effect<Uint8Array, unknown>
  readonly decode: (stored: Uint8Array, place: PayloadPlace) => Uint8Array | Effect.Effect<Uint8Array, unknown>
}
