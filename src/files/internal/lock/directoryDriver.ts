import * as path from "node:path"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { isAlive, isGone } from "../../../host/owner.js"
import * as Lock from "../../../lock/Lock.js"
import { type Call, type Calls, CurrentCalls, orElseIf } from "../system/calls.js"
import { isLeftover, isOwn, temporaryName, uniqueOwner } from "../system/names.js"
import { removeTree } from "../system/tree.js"
import { type Holder, lockPathIn, locksIn, makeFolders, notALock, statusOf, toLockError } from "./lockFolder.js"

export interface Options {
  readonly folder: string
  readonly staleMillis: number
  readonly poll: Duration.DurationInput
}

/**
 * Locks as folders. The folder of a lock holds one empty file, whose name is the
 * state: `free~<token>~<since>` or `held~<token>~<since>~<owner>~<heartbeat>`.
 * Acquiring, taking over, renewing and releasing are each one rename of exactly
 * that name, so one of several competitors succeeds and the others see ENOENT.
 * No process reads a half-written record, or compares clocks of two hosts.
 */
export const directoryDriver = ({ folder: given, poll, staleMillis }: Options): Lock.Driver => {
  const folder = path.resolve(given)
  return {
    ...stateFolders({ staleMillis, sparesLiving: false, mode: undefined }),
    keyOf: lockPathIn(folder),
    list: asLockError("all", folder, (calls) =>
      Effect.gen(function* () {
        const statuses = yield* Effect.forEach(yield* locksIn(calls, folder), ({ at, lock }) => {
          const status = Effect.map(readState(calls, at), (state) => [statusOf(lock, state)])
          return orElseIf(status, notLocks, [])
        })
        return statuses.flat()
      })
    ),
    cleanup: (olderThan) =>
      Effect.clockWith((clock) =>
        asLockError("all", folder, (calls) =>
          Effect.gen(function* () {
            const now = clock.unsafeCurrentTimeMillis()
            const removed = yield* Effect.filter(yield* locksIn(calls, folder), ({ at }) =>
              orElseIf(removeUnused(calls, at, now - olderThan, now), [...notLocks, "ENOENT"], false)
            )
            yield* removeLeftovers(calls, folder)
            return removed.length
          })
        )
      ),
    heartbeat: staleMillis / 4,
    // The holder gives up before others may take over.
    patience: (staleMillis * 3) / 4,
    poll
  }
}

export interface Takeover {
  /** A holder of which nothing is known is dead after this time without a heartbeat. */
  readonly staleMillis: number
  /** Whether a holder that certainly lives keeps the lock without heartbeats, such as a process that is stopped. */
  readonly sparesLiving: boolean
  /** Permissions of the folder of a lock. Default: by the umask. */
  readonly mode: number | undefined
}

/** How folders with a state are acquired and read. The key of a lock is the path of its folder. */
export const stateFolders = (takeover: Takeover): Pick<Lock.Driver, "attempt" | "status"> => {
  const observed: Observed = { ...takeover, seen: new Map() }
  const onLock = <A>(name: Lock.Name, at: string, run: (calls: Calls, lock: string) => Call<A>) =>
    asLockError(Lock.format(name), at, (calls) => run(calls, Lock.format(name)))
  return {
    attempt: (at, name) => onLock(name, at, (calls, lock) => attempt(calls, at, lock, observed)),
    status: (at, name) =>
      onLock(name, at, (calls, lock) => Effect.map(readState(calls, at), (state) => statusOf(lock, state)))
  }
}

const notLocks = ["EFOREIGN", "ENOTDIR"]

const asLockError = <A>(lock: string, at: string, run: (calls: Calls) => Call<A>): Effect.Effect<A, Lock.LockError> =>
  Effect.mapError(Effect.flatMap(CurrentCalls, run), toLockError(lock, at))

/** The state of a lock, as the name of its file says. */
interface State extends Holder {
  /** The number of renewals by the owner. */
  readonly beat: number
}

// An owner contains neither `~` nor `+`.
const formatState = ({ beat, owner, since, token }: State): string =>
  owner === undefined ? `free~${token}~${since}` : `held~${token}~${since}~${owner.replaceAll("/", "+")}~${beat}`

/** Undefined for names that this library does not write. */
const parseState = (name: string): State | undefined => {
  const [, kind, token, since, owner, beat = "0"] = /^(?:(free)|held)~(\d+)~(\d+)(?:~([^~]+)~(\d+))?$/.exec(name) ?? []
  if (token === undefined || (kind === undefined) !== (owner !== undefined)) return undefined
  const state = {
    token: Number(token),
    since: Number(since),
    owner: owner?.replaceAll("+", "/"),
    beat: Number(beat)
  }
  return state.token < Number.MAX_SAFE_INTEGER && formatState(state) === name ? state : undefined
}

/** The owners that hold a lock, or attempt to. */
const active = new Set<string>()

/** A lock of this process that none of its callers holds is one whose release failed. */
const isFree = ({ owner }: State): boolean =>
  owner === undefined || isGone(owner) || (isOwn(owner) && !active.has(owner))

interface Observed extends Takeover {
  /** Since when this process has seen each holder without a new heartbeat, by path. */
  readonly seen: Map<string, { readonly name: string; readonly since: bigint }>
}

/** Whether a lock may be taken: it is free, its owner is dead, or it was seen without a heartbeat for too long. */
const mayTake = (observed: Observed, at: string, state: State, now: bigint): boolean => {
  const { seen, sparesLiving, staleMillis } = observed
  if (isFree(state)) return true
  if (sparesLiving && state.owner !== undefined && isAlive(state.owner)) return false
  const name = formatState(state)
  const known = seen.get(at)
  if (known?.name === name) return Number(now - known.since) / 1e6 >= staleMillis
  seen.set(at, { name, since: now })
  return false
}

/** How many lost races count as contention. */
const maxTries = 100

const attempt = (calls: Calls, at: string, lock: string, observed: Observed): Call<Lock.Attempt> => {
  const owner = uniqueOwner(calls.thisProcess())
  const acquired = (state: State): Lock.Attempt => {
    observed.seen.delete(at)
    return { _tag: "Acquired", grip: makeGrip(at, lock, state) }
  }
  const tryOnce = (tries: number): Call<Lock.Attempt> =>
    Effect.flatMap(readState(calls, at), (state) =>
      Effect.clockWith((clock) => {
        const now = clock.unsafeCurrentTimeMillis()
        if (state === undefined) {
          if (tries >= maxTries) return Effect.fail(notALock("it is an empty folder that cannot be replaced"))
          const created: State = { token: Lock.nextToken(0, now), since: now, owner, beat: 0 }
          return Effect.flatMap(create(calls, at, created, observed.mode), (isMade) =>
            isMade ? Effect.sync(() => acquired(created)) : tryOnce(tries + 1)
          )
        }
        // A network file system may lose the reply to a rename that it made.
        if (state.owner === owner) return Effect.sync(() => acquired(state))
        if (!mayTake(observed, at, state, clock.unsafeCurrentTimeNanos()) || tries >= maxTries) {
          return Effect.succeed({ _tag: "Busy", status: statusOf(lock, state) })
        }
        const taken: State = { token: Lock.nextToken(state.token, now), since: now, owner, beat: 0 }
        return Effect.flatMap(change(calls, at, state, taken), (changed) =>
          changed ? Effect.sync(() => acquired(taken)) : tryOnce(tries + 1)
        )
      })
    )
  return Effect.suspend(() => {
    active.add(owner)
    return Effect.onExit(tryOnce(1), (exit) =>
      Effect.sync(() => {
        if (!Exit.isSuccess(exit) || exit.value._tag === "Busy") active.delete(owner)
      })
    )
  })
}

const makeGrip = (at: string, lock: string, acquired: State): Lock.Grip => {
  let state = acquired
  /** Moves to the next state. Returns false if another process has taken the lock. */
  const moveTo = (calls: Calls, next: (from: State) => State, tries = 1): Call<boolean> =>
    Effect.suspend(() => {
      const wanted = next(state)
      return Effect.flatMap(change(calls, at, state, wanted), (changed): Call<boolean> => {
        if (changed) {
          state = wanted
          return Effect.succeed(true)
        }
        // The rename, or an earlier one, may have been made though its reply was lost.
        return Effect.flatMap(readState(calls, at), (found) => {
          const isMade = found !== undefined && formatState(found) === formatState(wanted)
          if (!isMade && (found?.owner !== state.owner || tries >= maxTries)) return Effect.succeed(false)
          state = found ?? state
          return isMade ? Effect.succeed(true) : moveTo(calls, next, tries + 1)
        })
      })
    })
  return {
    token: acquired.token,
    renew: asLockError(lock, at, (calls) => moveTo(calls, (from) => ({ ...from, beat: from.beat + 1 }))),
    release: Effect.clockWith((clock) =>
      asLockError(lock, at, (calls) =>
        moveTo(calls, ({ token }) => ({ token, since: clock.unsafeCurrentTimeMillis(), beat: 0 }))
      )
    ).pipe(Effect.ensuring(Effect.sync(() => active.delete(acquired.owner ?? ""))))
  }
}

/** The state of a lock; undefined if the lock does not exist. */
const readState = (calls: Calls, at: string, tries = 1): Call<State | undefined> =>
  Effect.flatMap(namesIn(calls, at), (names) => {
    const states = names.flatMap((name) => parseState(name) ?? [])
    // A folder that is read during a rename may show both names, or none.
    const state = states.sort((a, b) => b.token - a.token || b.beat - a.beat)[0]
    if (state !== undefined || names.length === 0) return Effect.succeed(state)
    return tries >= 5
      ? Effect.fail(notALock(`it contains ${names.slice(0, 3).join(", ")}`))
      : Effect.zipRight(Effect.yieldNow(), readState(calls, at, tries + 1))
  })

const namesIn = (calls: Calls, at: string): Call<ReadonlyArray<string>> =>
  Effect.catchAll(orElseIf(calls.readdir(at), ["ENOENT"], []), (error) =>
    error.code === "ENOTDIR"
      ? // Either the path or its parent is a file; of the latter, lstat fails with the same code.
        Effect.zipRight(calls.lstat(at), Effect.fail(notALock("it is not a folder")))
      : Effect.fail(error)
  )

/** Renames the state. Returns false if another process has changed it. */
const change = (calls: Calls, at: string, from: State, to: State): Call<boolean> =>
  orElseIf(
    Effect.as(calls.rename(path.join(at, formatState(from)), path.join(at, formatState(to))), true),
    ["ENOENT"],
    false
  )

/**
 * Creates a lock under a temporary name and renames it into place, so that it never appears without a state. Returns
 * false if another process was faster: a rename replaces only an empty folder, on some systems not even that.
 */
const create = (calls: Calls, at: string, state: State, mode: number | undefined): Call<boolean> => {
  const parent = path.dirname(at)
  const temporary = path.join(parent, temporaryName(path.basename(at), calls.thisProcess()))
  const made = Effect.catchIf(
    calls.mkdir(temporary, mode),
    ({ code }) => code === "ENOENT",
    () => Effect.zipRight(makeFolders(calls, parent), calls.mkdir(temporary, mode))
  )
  const filled = createState(calls, temporary, state)
  const moved = Effect.catchAll(Effect.as(calls.rename(temporary, at), true), (error): Call<boolean> => {
    if (error.code === "ENOTDIR") return Effect.fail(notALock("it is not a folder"))
    if (error.code === "ENOTEMPTY") return Effect.succeed(false)
    return /^(EEXIST|EPERM|EACCES)$/.test(error.code ?? "")
      ? Effect.as(Effect.ignore(calls.rmdir(at)), false)
      : Effect.fail(error)
  })
  const clean = Effect.ignore(removeTree(calls, temporary))
  return Effect.zipRight(made, Effect.zipRight(filled, moved)).pipe(
    Effect.tap((isMoved) => (isMoved ? Effect.void : clean)),
    Effect.onError(() => clean)
  )
}

const createState = (calls: Calls, folder: string, state: State): Call<void> =>
  Effect.flatMap(calls.open(path.join(folder, formatState(state)), "wx"), calls.close)

/** Makes a folder a free lock, unless it has a state. One of several competitors may acquire it then. */
export const adopt = (calls: Calls, at: string): Call<void> =>
  orElseIf(createState(calls, at, { token: 1, since: 0, beat: 0 }), ["EEXIST", "ENOENT"], undefined)

/** Whether a name in the folder of a lock is its state. */
export const isState = (name: string): boolean => parseState(name) !== undefined

/** Takes the state file out by its exact name, which fails if a process acquires the lock meanwhile; then removes the folder. */
const removeUnused = (calls: Calls, at: string, before: number, now: number): Call<boolean> =>
  Effect.gen(function* () {
    const names = yield* calls.readdir(at)
    const state = parseState(names[0] ?? "")
    if (names.length !== 1 || state === undefined || !isFree(state) || state.since >= before) return false
    // Without the lock the next token comes from the time alone, so it must exceed the last one.
    if (state.token >= now) return false
    const temporary = path.join(path.dirname(at), temporaryName(path.basename(at), calls.thisProcess()))
    yield* calls.rename(path.join(at, formatState(state)), temporary)
    yield* orElseIf(calls.rmdir(at), ["ENOTEMPTY", "EEXIST", "ENOENT"], undefined)
    yield* orElseIf(calls.unlink(temporary), ["ENOENT"], undefined)
    return true
  })

/** Removes the temporary names of processes that died while they created or removed a lock. */
const removeLeftovers = (calls: Calls, folder: string): Call<void> =>
  Effect.gen(function* () {
    for (const kind of yield* orElseIf(calls.readdir(folder), ["ENOENT"], [])) {
      const names = yield* orElseIf(calls.readdir(path.join(folder, kind)), ["ENOENT", "ENOTDIR"], [])
      for (const name of names.filter(isLeftover)) yield* removeTree(calls, path.join(folder, kind, name))
    }
  })
