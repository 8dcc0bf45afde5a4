import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { findRun, type Journal, loadJournal, type WaitRecord } from "../../../journal/Journal.js"
import type { StartedWait } from "../../../journal/JournalLine.js"
import { type JournalError, RunNotFound, Waiting } from "../../../journal/RunError.js"
import { asSecret, withoutPaths } from "../../../journal/Secrets.js"
import type * as Decision from "../../../resilience/Decision.js"
import { epochKey } from "../../../resilience/Key.js"
import * as Storage from "../../../storage/Storage.js"
import type { ToPark } from "../execution/activity.js"
import { problemOf } from "./jsonSchema.js"

/** The id of a wait for callers outside the run: its key, and how often a rewind has removed that key. */
export const waitId = ({ epochs }: Pick<Journal, "epochs">, key: string): string => {
  return epochKey(key, epochs.get(key))
}

/** The key under which a signal is stored. No id of a question begins with "@". */
export const signalKey = (name: string, id: string | undefined): string =>
  `@${encodeURIComponent(name)}${id === undefined ? "" : `/${encodeURIComponent(id)}`}`

/**
 * The key under which a signal is stored whose former value was refused: the first value under a key counts. The keys that
 * `signalKey` makes have no "?".
 */
export const nextSignalKey = (key: string): string => {
  const [first = "", refusals = "0"] = key.split("?")
  return `${first}?${Number(refusals) + 1}`
}

/** The key of the first value. */
const firstSignalKey = (key: string | undefined): string | undefined => key?.split("?")[0]

/** The name and the id in a key that `signalKey` made. */
const signalOf = (key: string): { readonly name: string; readonly id?: string } => {
  const [name = "", id] = (firstSignalKey(key) ?? "").slice(1).split("/").map(decodeURIComponent)
  return id === undefined ? { name } : { name, id }
}

/** A time in epoch milliseconds as a date. */
export const dateOption = (millis: number | undefined): Option.Option<Date> =>
  millis === undefined ? Option.none() : Option.some(new Date(millis))

/** The time itself, or undefined (no limit) for a time beyond the last date there is. */
export const finiteTime = (time: number): number | undefined => (time <= lastDate ? time : undefined)

const lastDate = 8.64e15

/** How a fiber waits, with what a suspended run shows of the wait. */
export const parkedOf = (journal: Journal, key: string, line: StartedWait): ToPark => {
  const { kind, signal, until } = line
  return { kind, signal, until, waiting: waitingOf(journal, key, line) }
}

/** What is shown of a wait. */
export const waitingOf = (journal: Journal, key: string, line: StartedWait): Waiting => {
  const { about, child, fault, kind, parameters = [], refused, schema, signal, startedAt, to, until } = line
  return {
    id: waitId(journal, key),
    kind,
    about,
    to: Option.fromNullable(to),
    fault: Option.fromNullable(fault),
    parameters,
    refused: Option.fromNullable(refused),
    ...(kind === "signal" && signal !== undefined ? { signal: signalOf(signal) } : {}),
    ...(child === undefined ? {} : { child: child.run }),
    ...(schema === undefined ? {} : { schema }),
    since: new Date(startedAt),
    until: dateOption(until)
  }
}

/** The waits of a suspended run are stored in its row, so that a list of runs reads no journal. */
const Row = Schema.parseJson(Schema.Array(Waiting))

const encode = Schema.encodeSync(Row)
const decode = Schema.decodeUnknownOption(Row)

export const encodeWaiting = (waits: ReadonlyArray<Waiting>): string | undefined =>
  waits.length === 0 ? undefined : encode(waits)

/** An unreadable row yields no waits: it only describes the run, and must not break a list. */
export const readWaiting = (text: string | undefined): ReadonlyArray<Waiting> =>
  text === undefined ? [] : Option.getOrElse(decode(text), () => [])

const Point: Schema.Schema<Decision.Point> = Schema.Union(
  Schema.TaggedStruct("Start", {}),
  Schema.TaggedStruct("Step", { step: Schema.String }),
  Schema.TaggedStruct("Iteration", {}),
  Schema.TaggedStruct("Transaction", {}),
  Schema.TaggedStruct("Checkpoint", {
    name: Schema.optional(Schema.String),
    valid: Schema.optional(Schema.Boolean)
  })
)

/** An answer as it is stored. Only the run has the schemas that read its values. */
const Sent = Schema.parseJson(
  Schema.extend(
    Schema.Union(
      Schema.TaggedStruct("Retry", {
        parameters: Schema.optional(Schema.Struct({ name: Schema.String, value: Schema.Unknown }))
      }),
      Schema.TaggedStruct("Value", { value: Schema.Unknown }),
      Schema.TaggedStruct("Skip", {}),
      Schema.TaggedStruct("Rewind", { to: Point }),
      Schema.TaggedStruct("Abort", {})
    ),
    Schema.Struct({
      /** Who answered. */
      by: Schema.optional(Schema.String),
      /** Why. */
      note: Schema.optional(Schema.String)
    })
  )
)

export type SentAnswer = typeof Sent.Type

export const encodeAnswer = Schema.encode(Sent)
export const decodeAnswer = Schema.decodeUnknown(Sent)

/**
 * The question or signal cannot be answered.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotOpen extends Data.TaggedError("NotOpen")<{
  readonly run: string
  /** The question or signal, in words. */
  readonly question: string
  /**
   * - `Unknown`: the run does not ask this question
   * - `Answered`: another answer came first
   * - `Finished`: the run has an outcome
   * - `Several`: more than one question is open, so the answer must name one
   */
  readonly reason: "Unknown" | "Answered" | "Finished" | "Several"
  /** The ids of the open questions. */
  readonly open: ReadonlyArray<string>
  /** The signals that the run waits for in place of an answer. Defaults to none. */
  readonly awaited?: ReadonlyArray<string> | undefined
}> {
  override get message(): string {
    const open =
      this.open.length === 0
        ? `No question is open.${this.instead}`
        : `Open: ${this.open.map((id) => `"${id}"`).join(", ")}. Give one of them as the option question.`
    const messages = {
      Unknown: `Run "${this.run}" does not ask ${this.question}. ${open}`,
      Answered: `${capital(this.question)} of run "${this.run}" was answered before; the first answer that fits counts.`,
      Finished: `Run "${this.run}" has ended, so it takes no answer any more. Workflow.status shows how it ended.`,
      Several: `Run "${this.run}" asks several questions. ${open}`
    }
    return messages[this.reason]
  }
  private get instead(): string {
    const { awaited = [] } = this
    return awaited.length === 0 ? "" : ` It waits for signal ${named(awaited)}: send it by Signal.sendJson.`
  }
}

const named = (names: ReadonlyArray<string>): string => names.map((name) => `"${name}"`).join(", ")

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)

/**
 * Stores a signal for a run, which may not wait for it yet. The first signal under a key counts, unless the run has refused
 * its value and waits for another one.
 */
export const sendSignal = (
  run: string,
  key: string,
  payload: string,
  question: string
): Effect.Effect<void, NotOpen | RunNotFound | JournalError | Storage.StorageError, Storage.Storage> =>
  Effect.gen(function* () {
    const storage = yield* Storage.Storage
    const refuse = (reason: NotOpen["reason"]) => new NotOpen({ run, question, reason, open: [] })
    switch (yield* storage.signal(run, key, payload)) {
      case "Sent":
        return
      case "Unknown":
        return yield* new RunNotFound({ run })
      case "Finished":
        return yield* refuse("Finished")
      case "Taken": {
        const wait = (yield* openSignals(storage, yield* findRun(storage, run))).find(isFor(key))
        if (wait?.signal === undefined || wait.signal === key) return yield* refuse("Answered")
        return yield* sendSignal(run, wait.signal, payload, question)
      }
    }
  })

/** The signals that a run waits for. */
const openSignals = (storage: Storage.Service, run: Storage.Run) =>
  Effect.map(loadJournal(storage, run), (journal) => openWaits(journal, "signal"))

const openWaits = ({ waits }: Journal, wanted: WaitRecord["kind"]): ReadonlyArray<WaitRecord> =>
  [...waits.values()].filter(
    ({ end, interruptedAt, kind }) => kind === wanted && end === undefined && interruptedAt === undefined
  )

/** Whether a wait ends with a signal of this key, or with one that replaces its refused value. */
const isFor =
  (key: string) =>
  ({ signal }: Pick<StartedWait, "signal">): boolean =>
    firstSignalKey(signal) === key

/**
 * The value does not fit the schema of what the run waits for. Nothing was stored.
 *
 * @since 0.1.0
 * @category errors
 */
export class ValueRefused extends Data.TaggedError("ValueRefused")<{
  readonly run: string
  /** The question or signal, in words. */
  readonly about: string
  readonly problem: string
  /** The JSON Schema that the value must fit. */
  readonly schema: unknown
}> {
  override get message(): string {
    return `The value for ${this.about} of run "${this.run}" does not fit: ${this.problem}. The run still waits; send a value of the schema ${JSON.stringify(this.schema)}.`
  }
}

const checkValue = (
  run: string,
  about: string,
  { schema }: Pick<StartedWait, "schema">,
  value: unknown
): Effect.Effect<void, ValueRefused> => {
  const problem = schema === undefined ? undefined : problemOf(schema, withoutPaths(value))
  return problem === undefined ? Effect.void : Effect.fail(new ValueRefused({ run, about, problem, schema }))
}

/**
 * The run does not wait for the signal now. Nothing was stored.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotAwaited extends Data.TaggedError("NotAwaited")<{
  readonly run: string
  /** The name of the signal, with its id if it has one. */
  readonly signal: string
  /** The signals that the run waits for now. */
  readonly awaited: ReadonlyArray<string>
  /** The ids of the questions that the run asks in place of a signal. Defaults to none. */
  readonly asked?: ReadonlyArray<string> | undefined
}> {
  override get message(): string {
    const { asked = [] } = this
    if (this.awaited.length === 0 && asked.length > 0) {
      return `Run "${this.run}" does not wait for signal "${this.signal}" now: it asks question ${named(asked)}. Answer it by Workflow.resolve.`
    }
    const awaited = this.awaited.length === 0 ? "nor for another one" : `only for ${named(this.awaited)}`
    const hasId = this.awaited.some((name) => name.startsWith(`${this.signal}/`))
    const id = hasId ? ` What follows "${this.signal}/" is the id of the wait: --id, or the option id.` : ""
    return `Run "${this.run}" does not wait for signal "${this.signal}" now, ${awaited}.${id} To store the signal until the run waits for it, send it early: --early, or the option early.`
  }
}

/** Sends a signal as JSON, checked against the schema of the wait. Unless it is `early`, the run must wait for it. */
export const sendJson = Effect.fnUntraced(function* (
  run: string,
  { early, id, name }: { readonly name: string; readonly id: string | undefined; readonly early: boolean },
  text: string | undefined
) {
  const storage = yield* Storage.Storage
  const stored = yield* findRun(storage, run)
  const key = signalKey(name, id)
  const signal = id === undefined ? name : `${name}/${id}`
  const journal = stored.outcome === undefined ? yield* loadJournal(storage, stored) : undefined
  const open = journal === undefined ? [] : openWaits(journal, "signal")
  const wait = open.find(isFor(key))
  if (wait === undefined && journal !== undefined && !early) {
    // A signal that came before is refused as answered, not as unknown.
    const isSent = (yield* storage.signals(stored.key)).some((one) => one.key === key)
    const asked = openWaits(journal, "question").map(({ key }) => waitId(journal, key))
    if (!isSent) return yield* new NotAwaited({ run, signal, awaited: open.map(({ about }) => about), asked })
  }
  const about = `signal "${signal}"`
  if (wait !== undefined) yield* checkValue(run, about, wait, text === undefined ? undefined : JSON.parse(text))
  const value = text !== undefined && wait?.secret === true ? asSecret(text) : text
  yield* sendSignal(run, wait?.signal ?? key, value === undefined ? "{}" : `{"value":${value}}`, about)
})

/** Answers the named question, or the only open one. */
export const resolve = Effect.fnUntraced(function* (run: string, payload: string, question: string | undefined) {
  const storage = yield* Storage.Storage
  const stored = yield* findRun(storage, run)
  const name = question === undefined ? "the question" : `question "${question}"`
  if (stored.outcome !== undefined) {
    return yield* new NotOpen({ run, question: name, reason: "Finished", open: [] })
  }
  const journal = yield* loadJournal(storage, stored)
  const answered = new Set((yield* storage.signals(stored.key)).map(({ key }) => key))
  const asked = [...journal.waits.values()].filter(({ end, kind }) => kind === "question" && end === undefined)
  const ids = asked.map(({ key }) => waitId(journal, key))
  const open = ids.filter((id) => !answered.has(id))
  const [only] = question === undefined ? open : [question]
  const awaited = openWaits(journal, "signal").map(({ about }) => about)
  const refuse = (reason: NotOpen["reason"]) => new NotOpen({ run, question: name, reason, open, awaited })
  if (question === undefined && open.length > 1) return yield* refuse("Several")
  if (only === undefined) return yield* refuse(ids.length > 0 ? "Answered" : "Unknown")
  if (!open.includes(only)) return yield* refuse(answered.has(only) ? "Answered" : "Unknown")
  const wait = asked.find(({ key }) => waitId(journal, key) === only)
  const answer = yield* Effect.orDie(decodeAnswer(payload))
  if (wait !== undefined && answer._tag === "Value") yield* checkValue(run, name, wait, answer.value)
  yield* sendSignal(run, only, payload, name)
})
