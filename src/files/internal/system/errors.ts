import * as Effect from "effect/Effect"
import { FileError, type FileReason } from "../../FileError.js"
import type { Call } from "./calls.js"

const reasons: Readonly<Record<string, FileReason>> = {
  ENOENT: "NotFound",
  EEXIST: "Exists",
  EISDIR: "NotAFile",
  ENOTDIR: "NotAFile",
  ENOTEMPTY: "NotEmpty",
  EACCES: "Permission",
  EPERM: "Permission",
  EOWNER: "Owner",
  EROFS: "ReadOnly",
  ENOSPC: "Full",
  EDQUOT: "Full",
  EFBIG: "Full",
  EBUSY: "Busy",
  ETXTBSY: "Busy",
  EXDEV: "OtherDevice",
  ENAMETOOLONG: "Path",
  ELOOP: "Path",
  ERR_INVALID_ARG_VALUE: "Path",
  ERR_INVALID_ARG_TYPE: "Path"
}

export const toFileError =
  (operation: string, path: string) =>
  (cause: NodeJS.ErrnoException | FileError): FileError =>
    cause instanceof FileError
      ? cause
      : new FileError({ reason: reasons[cause.code ?? ""] ?? "Io", operation, path, cause })

/** Says what was being done, of whatever went wrong on the way. */
export const doing =
  (operation: string, path: string) =>
  <A, E, R>(
    self: Effect.Effect<A, E | NodeJS.ErrnoException, R>
  ): Effect.Effect<A, Exclude<E, NodeJS.ErrnoException> | FileError, R> =>
    // Whatever has a tag is an error of its own; the rest is what the calls fail with.
    Effect.mapError(self, (error) =>
      isTagged(error) ? (error as Exclude<E, NodeJS.ErrnoException>) : toFileError(operation, path)(error as Error)
    )

const isTagged = (error: unknown): boolean => typeof error === "object" && error !== null && "_tag" in error

/** Instead of failing with one of these codes. */
export const unless = <A, B>(self: Call<A>, codes: ReadonlyArray<string>, instead: B): Call<A | B> =>
  Effect.catchAll(
    self,
    (error): Call<A | B> => (codes.includes(error.code ?? "") ? Effect.succeed(instead) : Effect.fail(error))
  )
