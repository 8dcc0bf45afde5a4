import { isUtf8 } from "node:buffer"
import * as fs from "node:fs"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { thisProcess } from "../../../host/owner.js"
import { FileError, type FileReason } from "../../FileError.js"
import { FileStats } from "./stats.js"

/** One system call. */
export type Call<A> = Effect.Effect<A, NodeJS.ErrnoException>

/** Bytes where the name is not valid UTF-8. */
export type Path = string | Buffer

/** An error with a code, as a system call fails with. */
export const errno = (code: string, message: string, cause?: unknown): NodeJS.ErrnoException =>
  Object.assign(new Error(message, { cause }), { code })

const call = <A>(run: (done: (error: NodeJS.ErrnoException | null, value: A) => void) => void): Call<A> =>
  Effect.async((resume) => {
    try {
      run((error, value) => resume(error === null ? Effect.succeed(value) : Effect.fail(error)))
    } catch (error) {
      // Node throws synchronously only for invalid arguments, with an error that has a code.
      resume(Effect.fail(error as NodeJS.ErrnoException))
    }
  })

/** A call without a result. */
const callVoid = (run: (done: (error?: NodeJS.ErrnoException | null) => void) => void): Call<void> =>
  call((done) => run((error) => done(error ?? null, undefined)))

const toPath = (bytes: Buffer): Path => (isUtf8(bytes) ? bytes.toString("utf8") : bytes)

/** How many files are read at once. A read waits for nothing else, so what waits for it may hold other permits. */
const reads = Effect.unsafeMakeSemaphore(16)

/** How many files are replaced at once, each with two descriptors. More are not faster: Node has four threads for files. */
export const makeReplacements = (): Effect.Semaphore => Effect.unsafeMakeSemaphore(24)

/** The system calls of Node. */
export const nodeCalls = {
  /** Identifies this process in the names of locks and temporary files. */
  thisProcess,
  replacements: makeReplacements(),
  open: (path: Path, flags: string, mode?: number): Call<number> => call((done) => fs.open(path, flags, mode, done)),
  close: (file: number) => callVoid((done) => fs.close(file, done)),
  /** Returns the number of bytes written. Without a position, writes at the current one. */
  write: (file: number, content: Uint8Array, position?: number): Call<number> =>
    call((done) => fs.write(file, content, 0, content.length, position ?? null, done)),
  /** Returns the number of bytes read; 0 at the end. */
  read: (file: number, buffer: Uint8Array, position: number): Call<number> =>
    call((done) => fs.read(file, buffer, 0, buffer.length, position, done)),
  sync: (file: number) => callVoid((done) => fs.fsync(file, done)),
  truncate: (file: number, length: number) => callVoid((done) => fs.ftruncate(file, length, done)),
  fchmod: (file: number, mode: number) => callVoid((done) => fs.fchmod(file, mode, done)),
  fchown: (file: number, uid: number, gid: number) => callVoid((done) => fs.fchown(file, uid, gid, done)),
  rename: (from: Path, to: Path) => callVoid((done) => fs.rename(from, to, done)),
  link: (from: string, to: string) => callVoid((done) => fs.link(from, to, done)),
  unlink: (path: Path) => callVoid((done) => fs.unlink(path, done)),
  mkdir: (path: Path, mode?: number) => callVoid((done) => fs.mkdir(path, { mode }, done)),
  rmdir: (path: Path) => callVoid((done) => fs.rmdir(path, done)),
  /** Fails if the target exists. */
  copyFile: (from: Path, to: Path) => callVoid((done) => fs.copyFile(from, to, fs.constants.COPYFILE_EXCL, done)),
  symlink: (target: Path, path: Path) => callVoid((done) => fs.symlink(target, path, done)),
  chmod: (path: Path, mode: number) => callVoid((done) => fs.chmod(path, mode, done)),
  /** Changes a symbolic link itself. */
  chown: (path: Path, uid: number, gid: number) => callVoid((done) => fs.lchown(path, uid, gid, done)),
  /** Times in seconds. */
  utimes: (path: Path, accessed: number, modified: number) =>
    callVoid((done) => fs.utimes(path, accessed, modified, done)),
  access: (path: string, mode: number) => callVoid((done) => fs.access(path, mode, done)),
  readFile: (path: string): Call<Buffer> => reads.withPermits(1)(call((done) => fs.readFile(path, done))),
  readdir: (path: string): Call<ReadonlyArray<string>> => call((done) => fs.readdir(path, done)),
  /** As `readdir`, with names that are not valid UTF-8 as bytes. */
  entries: (path: Path): Call<ReadonlyArray<Path>> =>
    call((done) => fs.readdir(path, "buffer", (error, names) => done(error, names?.map(toPath)))),
  readlink: (path: Path): Call<Path> =>
    call((done) => fs.readlink(path, "buffer", (error, to) => done(error, to && toPath(to)))),
  realpath: (path: string): Call<string> => call((done) => fs.realpath.native(path, done)),
  /** Returns undefined if the path does not exist. */
  lstat: (path: Path): Call<FileStats | undefined> =>
    call((done) =>
      fs.lstat(path, { bigint: true }, (error, stats) => {
        if (error === null) done(null, new FileStats(stats))
        else done(error.code === "ENOENT" ? null : error, undefined)
      })
    )
}

/** The system calls of this library. Tests replace them, to inject failures and to crash between any two calls. */
export interface Calls extends Readonly<typeof nodeCalls> {}

/** The system calls to use. Default: those of Node. */
export class CurrentCalls extends Context.Reference<CurrentCalls>()("effect-recovery/files/Calls", {
  defaultValue: () => nodeCalls
}) {}

/** Returns the reason of an error code, from the codes of each reason. All other codes are `Io`. */
export const reasonByCode = <Reason>(table: ReadonlyArray<readonly [reason: Reason, codes: ReadonlyArray<string>]>) => {
  const reasons = new Map(table.flatMap(([reason, codes]) => codes.map((code) => [code, reason] as const)))
  return (code: string | undefined): Reason | "Io" => reasons.get(code ?? "") ?? "Io"
}

const reasonOf = reasonByCode<FileReason>([
  ["NotFound", ["ENOENT"]],
  ["Exists", ["EEXIST"]],
  ["NotAFile", ["EISDIR", "ENOTDIR"]],
  ["NotEmpty", ["ENOTEMPTY"]],
  ["Permission", ["EACCES", "EPERM"]],
  ["Owner", ["EOWNER"]],
  ["ReadOnly", ["EROFS"]],
  ["Full", ["ENOSPC", "EDQUOT", "EFBIG"]],
  ["Busy", ["EBUSY", "ETXTBSY"]],
  ["OtherDevice", ["EXDEV"]],
  ["Descriptors", ["EMFILE", "ENFILE"]],
  ["Damaged", ["EFOREIGN"]],
  ["Path", ["ENAMETOOLONG", "ELOOP", "ERR_INVALID_ARG_VALUE", "ERR_INVALID_ARG_TYPE"]]
])

/** Turns failures of system calls into a `FileError` of the operation. Errors with a tag pass unchanged. */
export const asFileError =
  (operation: string, path: string) =>
  <A, E, R>(
    self: Effect.Effect<A, E | NodeJS.ErrnoException, R>
  ): Effect.Effect<A, Exclude<E, NodeJS.ErrnoException> | FileError, R> =>
    Effect.mapError(self, (error) => {
      // An error without a tag comes from a system call; the types cannot say so.
      if (typeof error === "object" && error !== null && "_tag" in error)
        return error as Exclude<E, NodeJS.ErrnoException>
      const cause = error as NodeJS.ErrnoException
      return new FileError({ reason: reasonOf(cause.code), operation, path, cause })
    })

/** Succeeds with `instead` if the call fails with one of the codes. */
export const orElseIf = <A, B>(self: Call<A>, codes: ReadonlyArray<string>, instead: B): Call<A | B> =>
  Effect.catchAll(
    self,
    (error): Call<A | B> => (codes.includes(error.code ?? "") ? Effect.succeed(instead) : Effect.fail(error))
  )
