import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Lock from "../../../lock/Lock.js"
import * as RetryPolicy from "../../../resilience/RetryPolicy.js"
import { settingsOf } from "../../../transaction/Compensation.js"
import { type InMemory, Transaction } from "../../../transaction/Transactor.js"
import { FileError } from "../../FileError.js"
import type { TransactionError } from "../../FileTransaction.js"
import type { Call } from "../system/calls.js"
import { doing } from "../system/errors.js"
import type { Entry } from "./journal.js"
import type { Opened } from "./opened.js"
import { refuseMeeting, undoEntry } from "./undo.js"

/** What undoes a change knows of it: nothing, until it is on record. */
interface Noted {
  readonly entries: Array<Entry>
}

// A file that is busy is waited for where it is renamed; of what else can go wrong nothing passes by itself.
const settings = settingsOf({ retry: RetryPolicy.none })

export type Outcome<A> = Effect.Effect<A, NodeJS.ErrnoException | FileError | Lock.LockLost>

/** Puts an intent on record, and then does what it says. */
export type Note = (entry: Entry, change: Call<void>) => Outcome<void>

export interface Changing {
  /** The innermost transaction around whoever calls, if it is a part of this one. */
  readonly current: Effect.Effect<InMemory>
  /** One change, registered before anything of it happens. */
  readonly changing: (
    what: string,
    given: string,
    make: (note: Note) => Outcome<void>
  ) => Effect.Effect<void, TransactionError>
}

/** What makes the changes of a root, and undoes them. */
export const changingIn = (opened: Opened, begun: InMemory): Changing => {
  const current: Effect.Effect<InMemory> = Effect.contextWith((context: Context.Context<never>) => {
    const { compensated, memory } = Option.getOrElse(Context.getOption(context, Transaction), () => begun)
    return memory?.log === begun.memory.log ? { compensated, memory } : begun
  })

  const undo = ({ entries }: Noted): Effect.Effect<void, FileError | Lock.LockLost> =>
    Effect.forEach([...entries], undoOne, { discard: true })

  const undoOne = (entry: Entry): Effect.Effect<void, FileError | Lock.LockLost> =>
    Effect.suspend(() => {
      if (!opened.pending.has(entry.n)) return Effect.void
      if (opened.isCommitted) return committed(entry.path)
      return Effect.all(
        [
          opened.refuseEnded,
          opened.checkFor(entry),
          refuseMeeting(entry, opened.stuck),
          undoEntry(opened.root, entry),
          opened.undone(entry.n)
        ],
        { discard: true }
      ).pipe(
        doing(`Undoing (${entry.kind})`, entry.path),
        Effect.tapError(() => Effect.sync(() => opened.stuck.push(entry)))
      )
    })

  const changing: Changing["changing"] = (what, given, make) =>
    Effect.flatMap(current, ({ compensated }) => {
      const noted: Noted = { entries: [] }
      const note: Note = (entry, change) =>
        Effect.suspend(() => {
          noted.entries.unshift(entry)
          return opened.change(entry, change)
        })
      // What has failed is undone at once: what it has kept is the file itself, and must not change with it.
      const made = Effect.all([opened.refuseEnded, opened.checkFor(), opened.ready, make(note)], {
        discard: true
      }).pipe(
        doing(what, given),
        Effect.tapError(() => Effect.ignore(undo(noted))),
        Effect.uninterruptible
      )
      return compensated(`${what} ${given}`, made, () => opened.oneByOne(undo(noted)), settings)
    })

  return { current, changing }
}

/** Of several roots in one transaction one could be committed, and the next one not. */
const committed = (path: string) => {
  const cause = new Error("it was committed before something else failed")
  return Effect.fail(new FileError({ reason: "Io", operation: "Undoing", path, cause }))
}
