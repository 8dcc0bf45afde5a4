import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import { encodedSign, isEncoded } from "../encodedText.js"
import type { PayloadPlace, Payloads } from "../Payloads.js"
import { hasProperties, isWaitingFor, limitOf, parseJson } from "../rows.js"
import { StorageError } from "../StorageError.js"
import type * as Store from "../Store.js"

type Failing<A> = Effect.Effect<A, StorageError>

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true })

/** Codes of one place: from texts to texts, and from bytes to bytes. */
interface Code {
  readonly encode: (text: string, what: string) => Failing<string>
  readonly decode: (text: string, what: string) => Failing<string>
  readonly encodeBytes: (bytes: Uint8Array, what: string) => Failing<Uint8Array>
  readonly decodeBytes: (bytes: Uint8Array, what: string) => Failing<Uint8Array>
}

/** Calls a function of the user, which may throw or return an effect. */
const called = (
  call: () => Uint8Array | Effect.Effect<Uint8Array, unknown>,
  operation: () => string
): Failing<Uint8Array> => {
  const failed = (cause: unknown) => new StorageError({ reason: "Payload", operation: operation(), cause })
  try {
    const made = call()
    if (made instanceof Uint8Array) return Effect.succeed(made)
    return Effect.catchAllDefect(Effect.mapError(made, failed), (defect) => Effect.fail(failed(defect)))
  } catch (cause) {
    return Effect.fail(failed(cause))
  }
}

/** Encodes and decodes what is stored at one place. */
export const codeOf = ({ decode, encode }: Payloads, place: PayloadPlace): Code => {
  const encodeBytes: Code["encodeBytes"] = (bytes, what) =>
    called(
      () => encode(bytes, place),
      () => `Encoding ${what}`
    )
  const decodeBytes: Code["decodeBytes"] = (bytes, what) =>
    called(
      () => decode(bytes, place),
      () => `Decoding ${what}`
    )
  const fromBase64 = (text: string, what: string): Failing<Uint8Array> =>
    Either.mapLeft(
      Encoding.decodeBase64(text),
      (cause) => new StorageError({ reason: "Payload", operation: `Decoding ${what}`, cause })
    )
  return {
    encodeBytes,
    decodeBytes,
    // An absent input or result is an empty text, and holds nothing to hide.
    encode: (text, what) =>
      text === ""
        ? Effect.succeed(text)
        : Effect.map(encodeBytes(encoder.encode(text), what), (bytes) => encodedSign + Encoding.encodeBase64(bytes)),
    decode: (text, what) => {
      if (!isEncoded(text)) return Effect.succeed(text)
      const bytes = Effect.flatMap(fromBase64(text.slice(encodedSign.length), what), (bytes) =>
        decodeBytes(bytes, what)
      )
      return Effect.flatMap(bytes, (bytes) =>
        Effect.try({
          try: () => decoder.decode(bytes),
          catch: (cause) => new StorageError({ reason: "Payload", operation: `Decoding ${what}`, cause })
        })
      )
    }
  }
}

const optional = (text: string | undefined, code: (text: string) => Failing<string>): Failing<string | undefined> =>
  text === undefined ? Effect.succeed(undefined) : code(text)

/** A list marks a row that cannot be decoded: it must not hide the others. */
const orMarked = <A extends { readonly damaged?: string | undefined }>(row: A, decoded: Failing<A>): Failing<A> =>
  row.damaged === undefined
    ? Effect.catchAll(decoded, ({ message }) => Effect.succeed({ ...row, damaged: message }))
    : Effect.succeed(row)

const pageSize = 1_000

/** What the store below cannot filter, since it is encoded. Reads pages, so that no limit hides a match. */
const filtered = <A extends { readonly key: number }>(
  read: (page: { readonly before: number | undefined; readonly limit: number }) => Failing<ReadonlyArray<A>>,
  query: { readonly before?: number | undefined; readonly limit?: number | undefined },
  matches: (row: A) => boolean
): Failing<ReadonlyArray<A>> =>
  Effect.gen(function* () {
    const most = limitOf(query)
    const found: Array<A> = []
    for (let { before } = query; found.length < most; ) {
      const page = yield* read({ before, limit: pageSize })
      found.push(...page.filter(matches))
      if (page.length < pageSize) break
      before = page.at(-1)?.key
    }
    return found.slice(0, most)
  })

/** A store whose payloads are encoded before they reach the one below. */
export const encodedStore = (store: Store.Store, payloads: Payloads): Store.Store => ({
  ...store,
  ...runsOf(store, payloads),
  ...journalOf(store, payloads),
  ...snapshotsOf(store, payloads),
  ...recordsOf(store, payloads)
})

// ---- runs

/** The codes of what a run has, and how its row is decoded. */
const runCodes = (payloads: Payloads) => {
  const [input, exit, waiting, signal] = (["input", "exit", "waiting", "signal"] as const).map((place) =>
    codeOf(payloads, place)
  ) as [Code, Code, Code, Code]

  const decodeOutcome = (outcome: Store.Outcome, run: string): Failing<Store.Outcome> =>
    Effect.map(exit.decode(outcome.exit, `the outcome of run "${run}"`), (exit) => ({ ...outcome, exit }))

  const decodeHold = (hold: Store.Hold, run: string): Failing<Store.Hold> =>
    Effect.map(signal.decode(hold.reason, `why run "${run}" is on hold`), (reason) => ({ ...hold, reason }))

  const decodeRun = (run: Store.Run): Failing<Store.Run> =>
    Effect.gen(function* () {
      return {
        ...run,
        input: yield* input.decode(run.input, `the input of run "${run.id}"`),
        waiting: yield* optional(run.waiting, (text) => waiting.decode(text, `what run "${run.id}" waits for`)),
        hold: run.hold && (yield* decodeHold(run.hold, run.id)),
        cancel: yield* optional(run.cancel, (text) => signal.decode(text, `the request to cancel run "${run.id}"`)),
        outcome: run.outcome && (yield* decodeOutcome(run.outcome, run.id))
      }
    })

  return { input, exit, waiting, signal, decodeOutcome, decodeHold, decodeRun }
}

type RunCodes = ReturnType<typeof runCodes>

const runsOf = (store: Store.Store, payloads: Payloads) => {
  const codes = runCodes(payloads)
  const { decodeOutcome, decodeRun, exit, signal, waiting } = codes
  const entry = entryCode(payloads)

  const decodeSignal = (found: Store.Signal): Failing<Store.Signal> =>
    Effect.map(signal.decode(found.payload, `the signal "${found.key}"`), (payload) => ({ ...found, payload }))

  const decodeAll = (runs: ReadonlyArray<Store.Run>) => Effect.forEach(runs, (run) => orMarked(run, decodeRun(run)))

  return {
    ...openingsOf(store, codes),
    ...controlsOf(store, codes, entry),
    reopen: (found, line, owner, leaseMillis, heldAs) =>
      Effect.flatMap(entry.encode(line), (line) => store.reopen(found, line, owner, leaseMillis, heldAs)),
    finish: (lease, outcome) =>
      Effect.flatMap(exit.encode(outcome.exit, `the outcome of run "${lease.run}"`), (encoded) =>
        Effect.flatMap(store.finish(lease, { ...outcome, exit: encoded }), (recorded) =>
          recorded.exit === encoded
            ? Effect.succeed({ ...recorded, exit: outcome.exit })
            : decodeOutcome(recorded, lease.run)
        )
      ),
    suspend: (lease, suspension) =>
      Effect.flatMap(
        optional(suspension.waiting, (text) => waiting.encode(text, `what run "${lease.run}" waits for`)),
        (waiting) => store.suspend(lease, { ...suspension, waiting })
      ),
    signal: (run, key, payload) =>
      Effect.flatMap(signal.encode(payload, `the signal "${key}" of run "${run}"`), (encoded) =>
        store.signal(run, key, encoded)
      ),
    signals: (run, skip) => Effect.flatMap(store.signals(run, skip), (found) => Effect.forEach(found, decodeSignal)),
    list: (query) => {
      const { waitsFor } = query
      return waitsFor === undefined
        ? Effect.flatMap(store.list(query), decodeAll)
        : filtered(
            (page) => Effect.flatMap(store.list({ ...query, ...page, waitsFor: undefined }), decodeAll),
            query,
            (run) => isWaitingFor(run, waitsFor)
          )
    },
    find: (id) => Effect.flatMap(store.find(id), Effect.transposeMapOption(decodeRun))
  } satisfies Partial<Store.Store>
}

/** How runs are created and leased. */
const openingsOf = (store: Store.Store, { decodeRun, input }: RunCodes) => {
  /** If a run that was leased cannot be read, its lease is released again. */
  const decodeOpened = (opened: Store.Opened): Failing<Store.Opened> => {
    if (opened._tag === "Gone") return Effect.succeed(opened)
    const decoded = Effect.map(decodeRun(opened.run), (run): Store.Opened => ({ ...opened, run }))
    return "lease" in opened
      ? Effect.tapError(decoded, () => store.release(opened.lease.owner, opened.lease.run))
      : decoded
  }

  const decodeDue = (found: Store.DueRun): Failing<Store.DueRun> => {
    if (found._tag === "Damaged") return Effect.succeed(found)
    const { lease, run } = found
    return Effect.catchAll(
      Effect.map(decodeRun(run), (decoded): Store.DueRun => ({ ...found, run: decoded })),
      ({ message }) =>
        Effect.as(store.release(lease.owner, lease.run), {
          _tag: "Damaged",
          run: { ...run, owner: undefined, leaseUntil: undefined, damaged: message }
        })
    )
  }

  /** Equal inputs have different encodings, so the store is asked again with the one that it has. */
  const open: Store.Store["open"] = (request, owner, leaseMillis) =>
    Effect.gen(function* () {
      const encoded = yield* input.encode(request.input, `the input of run "${request.id}"`)
      const opened = yield* store.open({ ...request, input: encoded }, owner, leaseMillis)
      const found = yield* decodeOpened(opened)
      if (opened._tag !== "Different" || found._tag !== "Different") return found
      if (found.run.workflow !== request.workflow || found.run.input !== request.input) return found
      const again = yield* store.open({ ...request, input: opened.run.input }, owner, leaseMillis)
      return yield* decodeOpened(again)
    })

  const enqueue: Store.Store["enqueue"] = (request) =>
    Effect.gen(function* () {
      const encoded = yield* input.encode(request.input, `the input of run "${request.id}"`)
      const { _tag, run } = yield* store.enqueue({ ...request, input: encoded })
      return { _tag, run: yield* decodeRun(run) }
    })

  /** If it fails, the caller gets no lease, so all of them are released. */
  const claimDue: Store.Store["claimDue"] = (query, owner, leaseMillis) =>
    Effect.flatMap(store.claimDue(query, owner, leaseMillis), (found) =>
      Effect.tapError(Effect.forEach(found, decodeDue), () => Effect.ignore(store.release(owner)))
    )

  return { open, claimDue, enqueue } satisfies Partial<Store.Store>
}

const orUnreadable = (hold: Store.Hold, decoded: Failing<Store.Hold>): Effect.Effect<Store.Hold> =>
  Effect.catchAll(decoded, ({ message }) => Effect.succeed({ ...hold, reason: message }))

/** Reasons and requests of operators are encoded as signals are: both come from outside of the run. */
const controlsOf = (
  store: Store.Store,
  { decodeHold, decodeOutcome, decodeRun, exit, input, signal }: RunCodes,
  entry: ReturnType<typeof entryCode>
) => {
  return {
    hold: (run, hold, from) =>
      Effect.gen(function* () {
        const reason = yield* signal.encode(hold.reason, `why run "${run}" is on hold`)
        const held = yield* store.hold(run, { ...hold, reason }, from)
        return held._tag === "Unknown" ? held : { ...held, run: yield* decodeRun(held.run) }
      }),
    cancel: (run, request) =>
      Effect.flatMap(signal.encode(request, `the request to cancel run "${run}"`), (text) => store.cancel(run, text)),
    terminate: (run, outcome) =>
      Effect.gen(function* () {
        const encoded = yield* exit.encode(outcome.exit, `the outcome of run "${run}"`)
        const recorded = yield* store.terminate(run, { ...outcome, exit: encoded })
        return yield* Effect.transposeMapOption(recorded, (one) => decodeOutcome(one, run))
      }),
    controls: (leases) =>
      Effect.flatMap(store.controls(leases), (found) =>
        Effect.forEach(found, ({ cancel, hold, lease }) =>
          Effect.gen(function* () {
            const request = optional(cancel, (text) => signal.decode(text, `the request to cancel run "${lease.run}"`))
            // What cannot be decoded must not hide the others. A run is on hold whatever the reason is.
            return {
              lease,
              hold: hold && (yield* orUnreadable(hold, decodeHold(hold, lease.run))),
              cancel: yield* Effect.orElseSucceed(request, () => undefined)
            }
          })
        )
      ),
    continueAs: (lease, next) =>
      Effect.gen(function* () {
        const encoded = yield* input.encode(next.input, `the input of run "${lease.run}"`)
        return yield* store.continueAs(lease, { ...next, input: encoded, entry: yield* entry.encode(next.entry) })
      })
  } satisfies Partial<Store.Store>
}

// ---- journals

const nameOf = ({ kind, seq, step }: Store.Entry): string => `line ${seq} (${kind} of "${step}")`

const entryCode = (payloads: Payloads) => {
  const code = codeOf(payloads, "journal")
  const change =
    (how: "encode" | "decode") =>
    (entry: Store.Entry): Failing<Store.Entry> =>
      entry.payload === undefined
        ? Effect.succeed(entry)
        : Effect.map(code[how](entry.payload, nameOf(entry)), (payload) => ({ ...entry, payload }))
  return { encode: change("encode"), decode: change("decode"), decodeText: code.decode }
}

/** The length up to which the store must read a text, for a reader of its decoded form. */
const encodedLength = (longest: number): number => 6 * longest + 4_096

/** Effects of one owner end in the order in which they begin: encoding one may take longer than the next. */
const makeInOrder = () => {
  const last = new Map<string, Deferred.Deferred<void>>()
  return <A, E>(owner: string, self: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      const before = last.get(owner)
      const ended = Deferred.unsafeMake<void>(FiberId.none)
      last.set(owner, ended)
      const end = Effect.sync(() => {
        if (last.get(owner) === ended) last.delete(owner)
        Deferred.unsafeDone(ended, Effect.void)
      })
      return Effect.ensuring(before === undefined ? self : Effect.zipLeft(self, Deferred.await(before)), end)
    })
}

const journalOf = (store: Store.Store, payloads: Payloads) => {
  const entry = entryCode(payloads)
  const inOrder = makeInOrder()
  const shorten = (found: Store.Entry, longest: number): Store.Entry =>
    (found.payload?.length ?? 0) <= longest ? found : { ...found, payload: undefined, omitted: true }
  return {
    append: (lease, entries, durability) =>
      inOrder(
        `${lease.owner} ${lease.run}`,
        Effect.flatMap(Effect.forEach(entries, entry.encode), (encoded) => store.append(lease, encoded, durability))
      ),
    transactional: (lease, body) =>
      store.transactional(
        lease,
        Effect.flatMap(body, ([value, entries]) =>
          Effect.map(Effect.forEach(entries, entry.encode), (encoded) => [value, encoded] as const)
        )
      ),
    rewind: (lease, line, rewound) => Effect.flatMap(entry.encode(line), (line) => store.rewind(lease, line, rewound)),
    journal: (key, longest) =>
      Effect.flatMap(store.journal(key, longest === undefined ? undefined : encodedLength(longest)), (entries) =>
        Effect.map(Effect.forEach(entries, entry.decode), (decoded) =>
          longest === undefined ? decoded : decoded.map((found) => shorten(found, longest))
        )
      ),
    payload: (key, seq) =>
      Effect.flatMap(store.payload(key, seq), (found) =>
        optional(found, (text) => entry.decodeText(text, `line ${seq} of a journal`))
      )
  } satisfies Partial<Store.Store>
}

// ---- snapshots

/** How the state was given stands before its own encoding. */
const ofText = `${encodedSign}text:`
const ofBytes = `${encodedSign}bytes:`

const plainEncoding = (encoding: string): string => encoding.replace(/^~(?:text|bytes):/, "")

const snapshotsOf = (store: Store.Store, payloads: Payloads) => {
  const state = codeOf(payloads, "state")
  const entry = entryCode(payloads)
  const what = ({ name, run }: Store.NewSnapshot) => `the state "${name}"${run === undefined ? "" : ` of run "${run}"`}`

  const encode = (snapshot: Store.NewSnapshot): Failing<Store.NewSnapshot> => {
    const isText = typeof snapshot.state === "string"
    const bytes = typeof snapshot.state === "string" ? encoder.encode(snapshot.state) : snapshot.state
    return Effect.map(state.encodeBytes(bytes, what(snapshot)), (encoded) => ({
      ...snapshot,
      state: encoded,
      encoding: `${isText ? ofText : ofBytes}${snapshot.encoding}`
    }))
  }

  const decode = (snapshot: Store.FullSnapshot): Failing<Store.FullSnapshot> => {
    if (!isEncoded(snapshot.encoding) || typeof snapshot.state === "string") return Effect.succeed(snapshot)
    const isText = snapshot.encoding.startsWith(ofText)
    return Effect.map(state.decodeBytes(snapshot.state, what(snapshot)), (bytes) => ({
      ...snapshot,
      // A copy of its own: a Buffer may share its memory.
      state: isText ? new TextDecoder().decode(bytes) : new Uint8Array(bytes),
      encoding: plainEncoding(snapshot.encoding)
    }))
  }

  /**
   * A payload with the snapshot's key in it is completed by the store below, so it stays as it is. It has only what the
   * snapshot's own row has, and no state.
   */
  const encodeOptions = (options: Store.SaveOptions): Failing<Store.SaveOptions> => {
    const line = options.entry
    if (line === undefined || typeof line.payload !== "string") return Effect.succeed(options)
    return Effect.map(entry.encode({ ...line, payload: line.payload }), ({ payload }) => ({
      ...options,
      entry: { ...line, payload }
    }))
  }

  return {
    save: (snapshot, options) =>
      Effect.flatMap(Effect.zip(encode(snapshot), encodeOptions(options)), ([encoded, options]) =>
        store.save(encoded, options)
      ),
    saveAll: (saves, lease) =>
      Effect.flatMap(
        Effect.forEach(saves, (save) => Effect.map(encode(save.snapshot), (snapshot) => ({ ...save, snapshot }))),
        (encoded) => store.saveAll(encoded, lease)
      ),
    snapshots: (query) =>
      Effect.map(store.snapshots(query), (found) =>
        found.map((snapshot) => ({ ...snapshot, encoding: plainEncoding(snapshot.encoding) }))
      ),
    fullSnapshots: (query) => Effect.flatMap(store.fullSnapshots(query), Effect.forEach(decode)),
    newest: (query) => Effect.flatMap(store.newest(query), Effect.transposeMapOption(decode)),
    snapshot: (key) => Effect.flatMap(store.snapshot(key), Effect.transposeMapOption(decode))
  } satisfies Partial<Store.Store>
}

// ---- records

const recordsOf = (store: Store.Store, payloads: Payloads) => {
  const code = codeOf(payloads, "record")
  const what = ({ id, kind }: Pick<Store.RecordRow, "id" | "kind">) => `the record of ${kind} "${id}"`
  const decode = (row: Store.RecordRow): Failing<Store.RecordRow> =>
    Effect.map(code.decode(row.body, what(row)), (body) => ({ ...row, body }))
  return {
    write: (record, counts) =>
      Effect.flatMap(code.encode(record.body, what(record)), (body) =>
        Effect.map(
          store.write({ ...record, body }, counts),
          Option.map((row) => ({ ...row, body: record.body }))
        )
      ),
    findRecord: (kind, id) => Effect.flatMap(store.findRecord(kind, id), Effect.transposeMapOption(decode)),
    records: (query) => {
      const read = (query: Store.RecordQuery) =>
        Effect.flatMap(store.records(query), (rows) => Effect.forEach(rows, (row) => orMarked(row, decode(row))))
      const { body } = query
      return body === undefined
        ? read(query)
        : filtered(
            (page) => read({ ...query, ...page, body: undefined }),
            query,
            (row) => hasProperties(parseJson(row.body), body)
          )
    }
  } satisfies Partial<Store.Store>
}
