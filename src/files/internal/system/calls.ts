import { isUtf8 } from "node:buffer"
import * as fs from "node:fs"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/** One call of the operating system. */
export type Call<A> = Effect.Effect<A, NodeJS.ErrnoException>

/** Bytes, if it is no text. */
export type Path = string | Buffer

/** What a call would have failed with, had the operating system found it out. */
export const errno = (code: string, message: string, cause?: unknown): NodeJS.ErrnoException =>
  Object.assign(new Error(message, { cause }), { code })

/**
 * What is asked of the file system, a method for each call of the operating
 * system: so tests can stand between any two of them, and end a process there.
 */
export interface Calls {
  readonly open: (path: Path, flags: string, mode?: number) => Call<number>
  readonly close: (file: number) => Call<void>
  /** Answers with how many bytes it took. Without a position it goes on where it was. */
  readonly write: (file: number, content: Uint8Array, position?: number | undefined) => Call<number>
  readonly sync: (file: number) => Call<void>
  readonly truncate: (file: number, length: number) => Call<void>
  readonly fchmod: (file: number, mode: number) => Call<void>
  readonly fchown: (file: number, uid: number, gid: number) => Call<void>
  readonly rename: (from: Path, to: Path) => Call<void>
  readonly link: (from: string, to: string) => Call<void>
  readonly unlink: (path: Path) => Call<void>
  readonly mkdir: (path: Path, mode?: number) => Call<void>
  readonly rmdir: (path: Path) => Call<void>
  /** Refuses to overwrite. */
  readonly copyFile: (from: Path, to: Path) => Call<void>
  readonly symlink: (target: Path, path: Path) => Call<void>
  readonly chmod: (path: Path, mode: number) => Call<void>
  /** Of a link, not of what it leads to. */
  readonly chown: (path: Path, uid: number, gid: number) => Call<void>
  /** In seconds. */
  readonly utimes: (path: Path, accessed: number, modified: number) => Call<void>
  readonly readFile: (path: string) => Call<Buffer>
  readonly readdir: (path: string) => Call<ReadonlyArray<string>>
  /** The names as they are on disk. */
  readonly entries: (path: Path) => Call<ReadonlyArray<Path>>
  readonly readlink: (path: Path) => Call<Path>
  readonly realpath: (path: string) => Call<string>
  /** Nothing, if nothing is there. */
  readonly lstat: (path: Path) => Call<fs.Stats | undefined>
}

const call = <A>(run: (done: (error: NodeJS.ErrnoException | null, value: A) => void) => void): Call<A> =>
  Effect.async((resume) => {
    try {
      run((error, value) => resume(error === null ? Effect.succeed(value) : Effect.fail(error)))
    } catch (error) {
      // Node throws at once only what is wrong with the arguments, as an error with a code.
      resume(Effect.fail(error as NodeJS.ErrnoException))
    }
  })

const toPath = (bytes: Buffer): Path => (isUtf8(bytes) ? bytes.toString("utf8") : bytes)

export const nodeCalls: Calls = {
  open: (path, flags, mode) => call((done) => fs.open(path, flags, mode, done)),
  close: (file) => call((done) => fs.close(file, (error) => done(error ?? null, undefined))),
  write: (file, content, position) =>
    call((done) => fs.write(file, content, 0, content.length, position ?? null, done)),
  sync: (file) => call((done) => fs.fsync(file, (error) => done(error, undefined))),
  truncate: (file, length) => call((done) => fs.ftruncate(file, length, (error) => done(error, undefined))),
  fchmod: (file, mode) => call((done) => fs.fchmod(file, mode, (error) => done(error, undefined))),
  fchown: (file, uid, gid) => call((done) => fs.fchown(file, uid, gid, (error) => done(error, undefined))),
  rename: (from, to) => call((done) => fs.rename(from, to, (error) => done(error, undefined))),
  link: (from, to) => call((done) => fs.link(from, to, (error) => done(error, undefined))),
  unlink: (path) => call((done) => fs.unlink(path, (error) => done(error, undefined))),
  mkdir: (path, mode) => call((done) => fs.mkdir(path, { mode }, (error) => done(error, undefined))),
  rmdir: (path) => call((done) => fs.rmdir(path, (error) => done(error, undefined))),
  copyFile: (from, to) =>
    call((done) => fs.copyFile(from, to, fs.constants.COPYFILE_EXCL, (error) => done(error, undefined))),
  symlink: (target, path) => call((done) => fs.symlink(target, path, (error) => done(error, undefined))),
  chmod: (path, mode) => call((done) => fs.chmod(path, mode, (error) => done(error, undefined))),
  chown: (path, uid, gid) => call((done) => fs.lchown(path, uid, gid, (error) => done(error, undefined))),
  utimes: (path, accessed, modified) =>
    call((done) => fs.utimes(path, accessed, modified, (error) => done(error, undefined))),
  readFile: (path) => call((done) => fs.readFile(path, done)),
  readdir: (path) => call((done) => fs.readdir(path, done)),
  entries: (path) => call((done) => fs.readdir(path, "buffer", (error, names) => done(error, names?.map(toPath)))),
  readlink: (path) => call((done) => fs.readlink(path, "buffer", (error, to) => done(error, to && toPath(to)))),
  realpath: (path) => call((done) => fs.realpath.native(path, done)),
  lstat: (path) =>
    call((done) =>
      fs.lstat(path, (error, stats) => (error?.code === "ENOENT" ? done(null, undefined) : done(error, stats)))
    )
}

/** The calls in force: those of Node, unless a test stands between. */
export class CurrentCalls extends Context.Reference<CurrentCalls>()("effect-recovery/files/Calls", {
  defaultValue: () => nodeCalls
}) {}
