import * as path from "node:path"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { isGone } from "../../../host/owner.js"
import * as Lock from "../../../remember/Lock.js"
import type { LockError, LockStatus } from "../../../remember/LockError.js"
import { type Call, type Calls, CurrentCalls } from "../system/calls.js"
import { unless } from "../system/errors.js"
import { isLeftover, temporaryName, uniqueOwner } from "../system/names.js"
import { foreign, makeFolders, placesIn, placesOf, toLockError } from "./places.js"
import { formatState, parseState, type State } from "./state.js"

export interface Options {
  readonly folder: string
  readonly stale: Duration.DurationInput
  readonly poll: Duration.DurationInput
}

/**
 * Locks as folders. Such a folder holds one empty file, whose name says
 * everything: `free~<token>~…` or `held~<token>~…~<owner>~<heartbeat>`. Each
 * change is a rename of that very name, so of all who want to change it at once
 * one succeeds, and the others find that it is no longer there: acquiring,
 * taking over, renewing and giving back are the same call. No half-written
 * record can be met, and no clock of another host is asked.
 */
export const directoryDriver = ({ folder, poll, stale }: Options): Lock.Driver => {
  const staleNanos = BigInt(Math.ceil(Duration.toMillis(stale) * 1e6))
  /** Since when each holder was seen with its present heartbeat. */
  const seen = new Map<string, { readonly name: string; readonly since: bigint }>()

  /** Whoever does not renew while somebody looks on for so long is taken for dead. */
  const isStale = (at: string, state: State, now: bigint): boolean => {
    if (state.owner === undefined || isGone(state.owner)) return seen.delete(at) || true
    const name = formatState(state)
    const known = seen.get(at)
    if (known?.name === name) return now - known.since >= staleNanos
    seen.set(at, { name, since: now })
    return false
  }

  const attempt = (at: string, lock: string, calls: Calls): Call<Lock.Attempt> => {
    const owner = uniqueOwner()
    const tryOnce = (tries: number): Call<Lock.Attempt> =>
      Effect.flatMap(read(calls, at), (state) =>
        Effect.clockWith((clock) => {
          if (state === undefined)
            return Effect.zipRight(create(calls, at, clock.unsafeCurrentTimeMillis()), tryOnce(tries))
          // The answer to our own rename may have got lost on its way through a network.
          if (state.owner === owner) return acquired(state)
          const nanos = clock.unsafeCurrentTimeNanos()
          if (!isStale(at, state, nanos) || tries >= 100)
            return Effect.succeed({ _tag: "Busy", status: statusOf(lock, state) })
          const now = clock.unsafeCurrentTimeMillis()
          const ours: State = { token: Lock.nextToken(state.token, now), since: now, owner, beat: 0 }
          return Effect.flatMap(change(calls, at, state, ours), (changed) =>
            changed ? acquired(ours) : tryOnce(tries + 1)
          )
        })
      )
    const acquired = (state: State): Call<Lock.Attempt> =>
      Effect.sync(() => {
        seen.delete(at)
        return { _tag: "Acquired", grip: gripOf(at, lock, state) }
      })
    return tryOnce(1)
  }

  const gripOf = (at: string, lock: string, acquired: State): Lock.Grip => {
    let state = acquired
    const to = (next: State) =>
      asked(lock, at, (calls) =>
        Effect.flatMap(change(calls, at, state, next), (changed) => {
          if (changed) state = next
          return changed ? Effect.succeed(true) : Effect.map(read(calls, at), (found) => isSame(found, next))
        })
      )
    return {
      token: acquired.token,
      renew: Effect.suspend(() => to({ ...state, beat: state.beat + 1 })),
      release: Effect.clockWith((clock) =>
        to({ token: acquired.token, since: clock.unsafeCurrentTimeMillis(), owner: undefined, beat: 0 })
      )
    }
  }

  const removeUnused = (calls: Calls, at: string, before: number, now: number): Call<boolean> =>
    Effect.gen(function* () {
      const state = yield* read(calls, at)
      if (state === undefined || state.owner !== undefined || state.since >= before) return false
      // The next token is made of the time alone, and must not be one that was given out.
      if (state.token >= now) return false
      // Acquired, so that nobody has it while it goes.
      const ours: State = { ...state, owner: uniqueOwner() }
      if (!(yield* change(calls, at, state, ours))) return false
      const aside = path.join(path.dirname(at), temporaryName(path.basename(at)))
      yield* calls.rename(at, aside)
      yield* removeFolder(calls, aside)
      return true
    })

  return {
    keyOf: placesOf(folder),
    attempt: (at, name) => asked(Lock.format(name), at, (calls) => attempt(at, Lock.format(name), calls)),
    status: (at, name) =>
      asked(Lock.format(name), at, (calls) =>
        Effect.map(read(calls, at), (state) => statusOf(Lock.format(name), state))
      ),
    list: asked("all", folder, (calls) =>
      Effect.flatMap(placesIn(calls, folder), (places) =>
        Effect.forEach(places, ({ at, lock }) => Effect.map(read(calls, at), (state) => statusOf(lock, state)))
      )
    ),
    cleanup: (olderThan) =>
      Effect.clockWith((clock) =>
        asked("all", folder, (calls) =>
          Effect.gen(function* () {
            const now = clock.unsafeCurrentTimeMillis()
            const places = yield* placesIn(calls, folder)
            const removed = yield* Effect.filter(places, ({ at }) => removeUnused(calls, at, now - olderThan, now))
            yield* removeLeftovers(calls, folder)
            return removed.length
          })
        )
      ),
    heartbeat: Duration.times(stale, 1 / 4),
    // Gives up before anybody else may take over.
    patience: Duration.times(stale, 3 / 4),
    poll
  }
}

const asked = <A>(lock: string, at: string, run: (calls: Calls) => Call<A>): Effect.Effect<A, LockError> =>
  Effect.mapError(Effect.flatMap(CurrentCalls, run), toLockError(lock, at))

const statusOf = (lock: string, state: State | undefined): LockStatus => {
  const { owner, since, token = 0 } = state ?? {}
  return { lock, token, owner, since, state: owner === undefined ? "free" : isGone(owner) ? "stale" : "held" }
}

const isSame = (found: State | undefined, next: State): boolean =>
  found !== undefined && formatState(found) === formatState(next)

/** The state of a lock; none, if there is no such lock yet. */
const read = (calls: Calls, at: string, tries = 1): Call<State | undefined> =>
  Effect.flatMap(namesIn(calls, at), (names) => {
    const states = names.flatMap((name) => parseState(name) ?? [])
    // Whoever reads a folder while a name in it changes may see both names, or none.
    const state = states.sort((a, b) => b.token - a.token || b.beat - a.beat)[0]
    if (state !== undefined || names.length === 0) return Effect.succeed(state)
    return tries >= 5
      ? Effect.fail(foreign(`it holds ${names.slice(0, 3).join(", ")}`))
      : Effect.zipRight(Effect.yieldNow(), read(calls, at, tries + 1))
  })

const namesIn = (calls: Calls, at: string): Call<ReadonlyArray<string>> =>
  Effect.catchAll(unless(calls.readdir(at), ["ENOENT"], []), (error) =>
    error.code === "ENOTDIR"
      ? // Either it is a file, or its folder is one; asked about, the latter fails with the same code.
        Effect.zipRight(calls.lstat(at), Effect.fail(foreign("it is no folder")))
      : Effect.fail(error)
  )

/** One rename: false, if the state is another one by now. */
const change = (calls: Calls, at: string, from: State, to: State): Call<boolean> =>
  unless(
    Effect.as(calls.rename(path.join(at, formatState(from)), path.join(at, formatState(to))), true),
    ["ENOENT"],
    false
  )

/** Makes the folder aside, and moves it into place whole: it is never seen without a state. */
const create = (calls: Calls, at: string, now: number): Call<void> =>
  Effect.gen(function* () {
    const parent = path.dirname(at)
    const aside = path.join(parent, temporaryName(path.basename(at)))
    yield* Effect.catchIf(calls.mkdir(aside), isMissing, () =>
      Effect.zipRight(makeFolders(calls, parent), calls.mkdir(aside))
    )
    const free = formatState({ token: Lock.nextToken(0, now), since: now, owner: undefined, beat: 0 })
    yield* Effect.flatMap(calls.open(path.join(aside, free), "wx"), calls.close)
    // Refused, if somebody else was faster: a folder replaces only an empty one.
    yield* unless(calls.rename(aside, at), ["ENOTEMPTY", "EEXIST", "EPERM"], undefined).pipe(
      Effect.ensuring(Effect.ignore(removeFolder(calls, aside)))
    )
  })

const isMissing = ({ code }: NodeJS.ErrnoException): boolean => code === "ENOENT"

/** A folder of plain files. */
const removeFolder = (calls: Calls, folder: string): Call<void> =>
  Effect.gen(function* () {
    const names = yield* unless(calls.readdir(folder), ["ENOENT"], undefined)
    if (names === undefined) return
    yield* Effect.forEach(names, (name) => calls.unlink(path.join(folder, name)), { discard: true })
    yield* calls.rmdir(folder)
  })

/** What processes that were killed while they made or removed a lock have left. */
const removeLeftovers = (calls: Calls, folder: string): Call<void> =>
  Effect.gen(function* () {
    const root = path.resolve(folder)
    const kinds = yield* unless(calls.readdir(root), ["ENOENT"], [])
    for (const kind of kinds) {
      const names = yield* unless(calls.readdir(path.join(root, kind)), ["ENOENT", "ENOTDIR"], [])
      for (const name of names.filter(isLeftover)) yield* removeFolder(calls, path.join(root, kind, name))
    }
  })
