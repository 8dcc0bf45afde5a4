import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Storage from "../../../storage/Storage.js"
import { RunNotFound } from "../../RunError.js"
import { loadJournal } from "../journal/journal.js"
import { idOf } from "./waitId.js"

/** There is nothing to answer, or no more. */
export class NotOpen extends Data.TaggedError("NotOpen")<{
  readonly run: string
  /** The question, or the signal. */
  readonly question: string
  /**
   * - `Unknown`: nothing of that name is asked
   * - `Answered`: somebody was quicker
   * - `Finished`: the run has its outcome
   * - `Several`: more than one question is open, so say which
   */
  readonly reason: "Unknown" | "Answered" | "Finished" | "Several"
  /** The ids of the questions that are open. */
  readonly open: ReadonlyArray<string>
}> {
  override get message(): string {
    const open =
      this.open.length === 0
        ? "No question is open."
        : `Open: ${this.open.map((id) => `"${id}"`).join(", ")}. Give one of them as the option question.`
    const messages = {
      Unknown: `Run "${this.run}" does not ask ${this.question}. ${open}`,
      Answered: `${capital(this.question)} of run "${this.run}" was answered before; the first answer counts.`,
      Finished: `Run "${this.run}" has ended, so nothing can be answered any more. Workflow.status shows its outcome.`,
      Several: `Run "${this.run}" asks several questions. ${open}`
    }
    return messages[this.reason]
  }
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)

/** Sends what a run waits for, or will wait for. The first one counts. */
export const tell = (run: string, key: string, payload: string, question: string) =>
  Effect.flatMap(Storage.Storage, (storage) =>
    Effect.flatMap(storage.signal(run, key, payload), (signalled): Effect.Effect<void, NotOpen | RunNotFound> => {
      switch (signalled) {
        case "Sent":
          return Effect.void
        case "Unknown":
          return Effect.fail(new RunNotFound({ run }))
        case "Taken":
          return Effect.fail(new NotOpen({ run, question, reason: "Answered", open: [] }))
        case "Finished":
          return Effect.fail(new NotOpen({ run, question, reason: "Finished", open: [] }))
      }
    })
  )

/** Answers the one question that is open, or the one that is named. */
export const resolve = Effect.fnUntraced(function* (run: string, payload: string, question: string | undefined) {
  const storage = yield* Storage.Storage
  const found = yield* storage.find(run)
  if (Option.isNone(found)) return yield* new RunNotFound({ run })
  const name = question === undefined ? "the question" : `question "${question}"`
  if (found.value.outcome !== undefined) {
    return yield* new NotOpen({ run, question: name, reason: "Finished", open: [] })
  }
  const journal = yield* loadJournal(storage, found.value)
  const taken = new Set((yield* storage.signals(found.value.key)).map(({ key }) => key))
  const asked = [...journal.waits.values()].filter(({ end, kind }) => kind === "question" && end === undefined)
  const ids = asked.map(({ key }) => idOf(journal, key))
  const open = ids.filter((id) => !taken.has(id))
  const [only] = question === undefined ? open : [question]
  const refuse = (reason: NotOpen["reason"]) => new NotOpen({ run, question: name, reason, open })
  if (question === undefined && open.length > 1) return yield* refuse("Several")
  if (only === undefined) return yield* refuse(ids.length > 0 ? "Answered" : "Unknown")
  if (!open.includes(only)) return yield* refuse(taken.has(only) ? "Answered" : "Unknown")
  yield* tell(run, only, payload, name)
})
