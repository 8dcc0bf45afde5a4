import * as fs from "node:fs"
import * as path from "node:path"
import { type FileIdentity, identityText, isSameFile } from "../../host/fileIdentity.js"

/** The database file as the file system sees it. Existing files are never opened here: see `createPrivately`. */
export interface DatabaseFile {
  /** Throws if the path no longer leads to the file that is open. */
  readonly verify: () => void
  /** As `verify`, and for the write-ahead log too, but at most once a second: for reads. */
  readonly verifySometimes: () => void
}

/** A database in memory has no file. */
export const inMemory: DatabaseFile = { verify: () => {}, verifySometimes: () => {} }

/** Why a filename is refused; `undefined` if it is not. SQLite takes an empty one for a private temporary database. */
export const filenameProblem = (filename: string): string | undefined => {
  if (filename.trim() === "") return "the filename of the database is empty"
  return filename.includes("\0") ? "the filename of the database contains a NUL character" : undefined
}

/** Tells files apart, whatever their names. `undefined` if there is none. */
export const identityOf = (filename: string): string | undefined => {
  const found = fs.statSync(pathOf(filename), { bigint: true, throwIfNoEntry: false })
  return found && identityText(found)
}

/** The code of `FileReplaced`, in the style of SQLite's codes. */
export const replacedCode = "RECOVERY_REPLACED"

/** What was written since then is in a file that no longer has this name. */
class FileReplaced extends Error {
  readonly code = replacedCode
  constructor(file: string, isThere: boolean) {
    super(`${file} ${isThere ? "is no longer the file that was opened" : "was removed or moved"}`)
    this.name = "FileReplaced"
  }
}

/** Without the spaces around the name. An absolute path is no URI to any driver. */
export const pathOf = (filename: string): string => path.resolve(filename.trim())

/**
 * Creates the file if there is none, readable and writable by its owner alone:
 * inputs and results may be secrets. SQLite gives its other files the mode of
 * this one. An existing file keeps its mode. Returns whether it was created.
 *
 * The flag `wx` opens only a file that it creates. Closing a descriptor of an
 * existing file would drop the locks that this process has on it, SQLite's too.
 */
export const createPrivately = (file: string): boolean => {
  try {
    const descriptor = fs.openSync(targetOf(file), "wx", 0o600)
    // The umask may have taken away the owner's rights.
    fs.fchmodSync(descriptor, 0o600)
    fs.closeSync(descriptor)
    return true
  } catch {
    // The file exists, or SQLite says why it cannot be created.
    return false
  }
}

/** Where a link leads whose target does not exist yet: `wx` does not follow links. */
const targetOf = (file: string): string => {
  const isDangling = fs.lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink() === true && !fs.existsSync(file)
  return isDangling ? path.resolve(path.dirname(file), fs.readlinkSync(file)) : file
}

/** Whether the database has no file. */
export const isInMemory = (filename: string): boolean => filename.trim() === ":memory:"

/** Prepares the file for SQLite, and remembers which one it is. `open` opens it by its path. */
export const openFile = <A>(
  { filename, readonly }: { readonly filename: string; readonly readonly: boolean },
  open: (filename: string) => A
): readonly [A, DatabaseFile] => {
  if (isInMemory(filename)) return [open(":memory:"), inMemory]
  const file = pathOf(filename)
  if (!readonly) createPrivately(file)
  // Remembered before SQLite opens the file: a file that is replaced in between is found by the next check.
  const checkFile = makeCheck(file)
  checkFile()
  return [open(file), makeFile(checkFile, makeCheck(`${file}-wal`))]
}

const pauseMillis = 1_000

const makeFile = (checkFile: () => void, checkLog: () => void): DatabaseFile => {
  let checkedAt = Number.NEGATIVE_INFINITY
  return {
    verify: checkFile,
    verifySometimes: () => {
      const now = performance.now()
      if (now - checkedAt < pauseMillis) return
      checkFile()
      checkLog()
      checkedAt = now
    }
  }
}

/**
 * Throws once the path leads to another file than at the first call that found one. SQLite keeps its log while the
 * database is open, so the log is not replaced either.
 */
const makeCheck = (file: string): (() => void) => {
  let known: FileIdentity | undefined
  return () => {
    const found = fs.statSync(file, { bigint: true, throwIfNoEntry: false })
    known ??= found
    if (known !== undefined && (found === undefined || !isSameFile(found, known))) {
      throw new FileReplaced(file, found !== undefined)
    }
  }
}
