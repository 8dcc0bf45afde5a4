import * as path from "node:path"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { isGone } from "../../../host/owner.js"
import * as Lock from "../../../lock/Lock.js"
import type { LockError, LockStatus } from "../../../lock/LockError.js"
import { type Call, type Calls, CurrentCalls } from "../system/calls.js"
import { unless } from "../system/errors.js"
import { isLeftover, temporaryName, uniqueOwner } from "../system/names.js"
import { removeTree } from "../system/tree.js"
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
export const directoryDriver = ({ folder: given, poll, stale }: Options): Lock.Driver => {
  const folder = path.resolve(given)
  const staleMillis = Duration.toMillis(stale)
  /** Since when each holder was seen with its present heartbeat. */
  const seen = new Map<string, { readonly name: string; readonly since: bigint }>()

  /** Whoever does not renew while somebody looks on for so long is taken for dead. */
  const isStale = (at: string, state: State, now: bigint): boolean => {
    if (isFree(state)) return seen.delete(at) || true
    const name = formatState(state)
    const known = seen.get(at)
    if (known?.name === name) return Number(now - known.since) / 1e6 >= staleMillis
    seen.set(at, { name, since: now })
    return false
  }

  const attempt = (at: string, lock: string, calls: Calls): Call<Lock.Attempt> => {
    const owner = uniqueOwner()
    const tryOnce = (tries: number): Call<Lock.Attempt> =>
      Effect.flatMap(read(calls, at), (state) =>
        Effect.clockWith((clock) => {
          const now = clock.unsafeCurrentTimeMillis()
          if (state === undefined) {
            if (tries >= patience) return Effect.fail(foreign("it is an empty folder that cannot be replaced"))
            return Effect.zipRight(create(calls, at, now), tryOnce(tries + 1))
          }
          // The answer to our own rename may have got lost on its way through a network.
          if (state.owner === owner) return acquired(state)
          if (!isStale(at, state, clock.unsafeCurrentTimeNanos()) || tries >= patience) {
            return Effect.succeed({ _tag: "Busy", status: statusOf(lock, state) })
          }
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
    /** A rename whose answer got lost was made all the same: then the next one begins there. */
    const to = (calls: Calls, next: (from: State) => State, tries = 1): Call<boolean> =>
      Effect.suspend(() => {
        const wanted = next(state)
        return Effect.flatMap(change(calls, at, state, wanted), (changed): Call<boolean> => {
          if (changed) {
            state = wanted
            return Effect.succeed(true)
          }
          return Effect.flatMap(read(calls, at), (found) => {
            if (found !== undefined && formatState(found) === formatState(wanted)) state = wanted
            else if (found?.owner !== state.owner || tries >= patience) return Effect.succeed(false)
            else {
              state = found ?? state
              return to(calls, next, tries + 1)
            }
            return Effect.succeed(true)
          })
        })
      })
    return {
      token: acquired.token,
      renew: asked(lock, at, (calls) => to(calls, (from) => ({ ...from, beat: from.beat + 1 }))),
      release: Effect.clockWith((clock) =>
        asked(lock, at, (calls) =>
          to(calls, ({ token }) => ({ token, since: clock.unsafeCurrentTimeMillis(), owner: undefined, beat: 0 }))
        )
      )
    }
  }

  return {
    keyOf: placesOf(folder),
    attempt: (at, name) => asked(Lock.format(name), at, (calls) => attempt(at, Lock.format(name), calls)),
    status: (at, name) =>
      asked(Lock.format(name), at, (calls) =>
        Effect.map(read(calls, at), (state) => statusOf(Lock.format(name), state))
      ),
    list: asked("all", folder, (calls) =>
      Effect.map(
        Effect.flatMap(placesIn(calls, folder), (places) =>
          Effect.forEach(places, ({ at, lock }) =>
            // What is no lock is no lock of this folder.
            unless(
              Effect.map(read(calls, at), (state) => [statusOf(lock, state)]),
              ["EFOREIGN", "ENOTDIR"],
              []
            )
          )
        ),
        (statuses) => statuses.flat()
      )
    ),
    cleanup: (olderThan) =>
      Effect.clockWith((clock) =>
        asked("all", folder, (calls) =>
          Effect.gen(function* () {
            const now = clock.unsafeCurrentTimeMillis()
            const places = yield* placesIn(calls, folder)
            const removed = yield* Effect.filter(places, ({ at }) =>
              unless(removeUnused(calls, at, now - olderThan, now), ["EFOREIGN", "ENOTDIR", "ENOENT"], false)
            )
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

/** How often a race is lost before somebody else counts as faster. */
const patience = 100

const isFree = ({ owner }: State): boolean => owner === undefined || isGone(owner)

/** Takes away the one file by its very name, so that it is nobody's by then, and the folder if it is still empty. */
const removeUnused = (calls: Calls, at: string, before: number, now: number): Call<boolean> =>
  Effect.gen(function* () {
    const names = yield* calls.readdir(at)
    const state = parseState(names[0] ?? "")
    if (names.length !== 1 || state === undefined || !isFree(state) || state.since >= before) return false
    // The next token is made of the time alone, and must not be one that was given out.
    if (state.token >= now) return false
    const aside = path.join(path.dirname(at), temporaryName(path.basename(at)))
    yield* calls.rename(path.join(at, formatState(state)), aside)
    yield* unless(calls.rmdir(at), ["ENOTEMPTY", "EEXIST", "ENOENT"], undefined)
    yield* unless(calls.unlink(aside), ["ENOENT"], undefined)
    return true
  })

const asked = <A>(lock: string, at: string, run: (calls: Calls) => Call<A>): Effect.Effect<A, LockError> =>
  Effect.mapError(Effect.flatMap(CurrentCalls, run), toLockError(lock, at))

const statusOf = (lock: string, state: State | undefined): LockStatus => {
  const { owner, since, token = 0 } = state ?? {}
  return { lock, token, owner, since, state: owner === undefined ? "free" : isGone(owner) ? "stale" : "held" }
}

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
const create = (calls: Calls, at: string, now: number): Call<void> => {
  const parent = path.dirname(at)
  const aside = path.join(parent, temporaryName(path.basename(at)))
  const free = formatState({ token: Lock.nextToken(0, now), since: now, owner: undefined, beat: 0 })
  const made = Effect.catchIf(calls.mkdir(aside), isMissing, () =>
    Effect.zipRight(makeFolders(calls, parent), calls.mkdir(aside))
  )
  const filled = Effect.flatMap(calls.open(path.join(aside, free), "wx"), calls.close)
  // Refused, if somebody else was faster: a folder replaces only an empty one, and not even that everywhere.
  const moved = Effect.catchAll(calls.rename(aside, at), (error): Call<void> => {
    if (error.code === "ENOTDIR") return Effect.fail(foreign("it is no folder"))
    if (error.code === "ENOTEMPTY") return Effect.void
    return /^(EEXIST|EPERM|EACCES)$/.test(error.code ?? "") ? Effect.ignore(calls.rmdir(at)) : Effect.fail(error)
  })
  return Effect.zipRight(
    made,
    Effect.ensuring(Effect.zipRight(filled, moved), Effect.ignore(removeFolder(calls, aside)))
  )
}

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
    const kinds = yield* unless(calls.readdir(folder), ["ENOENT"], [])
    for (const kind of kinds) {
      const names = yield* unless(calls.readdir(path.join(folder, kind)), ["ENOENT", "ENOTDIR"], [])
      for (const name of names.filter(isLeftover)) yield* removeTree(calls, path.join(folder, kind, name))
    }
  })
