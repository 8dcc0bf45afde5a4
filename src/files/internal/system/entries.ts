import * as path from "node:path"
import * as Effect from "effect/Effect"
import { isSameFile } from "../../../host/fileIdentity.js"
import type { Call, Calls } from "./calls.js"
import { rename, type Target } from "./replace.js"

/**
 * How two paths relate: they lead to different files, to two names of one file
 * (hard links), or to one name that is spelled in two ways, on a file system
 * that ignores case or the normalization of Unicode.
 */
type Relation = "two files" | "two names" | "one name"

export const relationOf = (calls: Calls, a: Target, b: Target): Call<Relation> =>
  Effect.gen(function* () {
    if (a.stats === undefined || b.stats === undefined || !isSameFile(a.stats, b.stats)) return "two files"
    const folders = [path.dirname(a.path), path.dirname(b.path)] as const
    const [one, other] = yield* Effect.all([calls.lstat(folders[0]), calls.lstat(folders[1])])
    if (one === undefined || other === undefined || !isSameFile(one, other)) return "two names"
    const listed = yield* calls.readdir(folders[0])
    const names = [path.basename(a.path), path.basename(b.path)] as const
    return names[0] !== names[1] && names.every((name) => listed.includes(name)) ? "two names" : "one name"
  })

const isListed = (calls: Calls, at: string): Call<boolean> =>
  Effect.map(calls.readdir(path.dirname(at)), (names) => names.includes(path.basename(at)))

/**
 * Renames a file to another spelling of its name. Linux does nothing if both
 * paths lead to one file, so there the file goes through `staged`.
 */
export const respell = (calls: Calls, from: string, to: string, staged: string): Call<void> =>
  Effect.gen(function* () {
    yield* rename(calls, from, to)
    if (yield* isListed(calls, to)) return
    yield* rename(calls, from, staged)
    yield* rename(calls, staged, to)
  })

/** Undoes `respell`, from wherever it stopped. */
export const undoRespell = (calls: Calls, from: string, to: string, staged: string): Call<void> =>
  Effect.gen(function* () {
    if ((yield* calls.lstat(staged)) !== undefined) return yield* rename(calls, staged, from)
    if (!(yield* isListed(calls, from))) yield* respell(calls, to, from, staged)
  })
