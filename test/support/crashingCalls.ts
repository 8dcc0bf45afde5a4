import * as Effect from "effect/Effect"
import { type Call, type Calls, makeReplacements, nodeCalls } from "../../src/files/internal/system/calls.js"
import { thisProcess } from "../../src/host/owner.js"

/** Where a process crashes: before or after a changing call, or in the middle of a write. */
export interface CrashPoint {
  /** The number of the changing call; the first is 1. */
  readonly call: number
  readonly when: "before" | "half" | "after"
}

/** A process of this host that is dead: its id is above all ids. Simulated processes have its identity. */
export const deadProcess = (): string => thisProcess().replace(/\/.*/, "/999999999@1")

/** The calls of a process that crashes at a point. Without a point the calls are only counted. */
export const crashingCalls = (
  point: CrashPoint | undefined,
  crash: Effect.Effect<never>,
  self: () => string = deadProcess
) => {
  const made: Array<string> = []
  let dead = false
  const die = Effect.suspend(() => {
    dead = true
    return crash
  })
  /** Calls of a dead process never return. */
  const asked = <A>(call: Call<A>): Call<A> => Effect.suspend(() => (dead ? Effect.never : call))
  const changing = <A>(name: string, call: Call<A>, half: Call<unknown> = call): Call<A> =>
    Effect.suspend(() => {
      if (dead) return Effect.never
      if (made.push(name) !== point?.call) return call
      if (point.when === "before") return die
      return Effect.zipRight(point.when === "half" ? half : call, die)
    })
  const calls: Calls = {
    thisProcess: self,
    replacements: makeReplacements(),
    open: (path, flags, mode) =>
      flags === "r" ? asked(nodeCalls.open(path, flags)) : changing(`open ${path}`, nodeCalls.open(path, flags, mode)),
    write: (file, content, position) => {
      const half = content.subarray(0, content.length >> 1)
      return changing("write", nodeCalls.write(file, content, position), nodeCalls.write(file, half, position))
    },
    read: (file, buffer, position) => asked(nodeCalls.read(file, buffer, position)),
    access: (path, mode) => asked(nodeCalls.access(path, mode)),
    close: (file) => asked(nodeCalls.close(file)),
    sync: (file) => asked(nodeCalls.sync(file)),
    truncate: (file, length) => changing("truncate", nodeCalls.truncate(file, length)),
    fchmod: (file, mode) => changing("fchmod", nodeCalls.fchmod(file, mode)),
    fchown: (file, uid, gid) => changing("fchown", nodeCalls.fchown(file, uid, gid)),
    rename: (from, to) => changing(`rename ${from} ${to}`, nodeCalls.rename(from, to)),
    link: (from, to) => changing(`link ${from} ${to}`, nodeCalls.link(from, to)),
    unlink: (path) => changing(`unlink ${path}`, nodeCalls.unlink(path)),
    mkdir: (path, mode) => changing(`mkdir ${path}`, nodeCalls.mkdir(path, mode)),
    rmdir: (path) => changing(`rmdir ${path}`, nodeCalls.rmdir(path)),
    copyFile: (from, to) => changing(`copyFile ${from} ${to}`, nodeCalls.copyFile(from, to)),
    symlink: (target, path) => changing(`symlink ${path}`, nodeCalls.symlink(target, path)),
    chmod: (path, mode) => changing(`chmod ${path}`, nodeCalls.chmod(path, mode)),
    chown: (path, uid, gid) => changing(`chown ${path}`, nodeCalls.chown(path, uid, gid)),
    utimes: (path, accessed, modified) => changing(`utimes ${path}`, nodeCalls.utimes(path, accessed, modified)),
    readFile: (path) => asked(nodeCalls.readFile(path)),
    readdir: (path) => asked(nodeCalls.readdir(path)),
    entries: (path) => asked(nodeCalls.entries(path)),
    readlink: (path) => asked(nodeCalls.readlink(path)),
    realpath: (path) => asked(nodeCalls.realpath(path)),
    lstat: (path) => asked(nodeCalls.lstat(path))
  }
  return { calls, made }
}
