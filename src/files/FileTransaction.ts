/**
 * Atomic changes of any number of files and folders. A transaction that fails or
 * is interrupted is rolled back; after a crash or a power cut, the next opening
 * of its root rolls it back.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Lock from "../lock/Lock.js"
import type { RollbackFailed } from "../transaction/RollbackFailed.js"
import type * as Transaction from "../transaction/Transaction.js"
import type { Durability } from "./AtomicFile.js"
import { FileError } from "./FileError.js"
import { asFileError } from "./internal/system/calls.js"
import { hasRemains, journalFolder, removeRemains } from "./internal/transaction/journal.js"
import { openRoot, realRoot, rootLock } from "./internal/transaction/openRoot.js"
import { runTransaction, unlessLost } from "./internal/transaction/run.js"
import { recover as recoverRoot } from "./internal/transaction/undo.js"

/**
 * The errors of a change, also as a schema: a step that changes files declares
 * it as its `error`.
 *
 * @since 0.1.0
 * @category errors
 */
export const TransactionError = Schema.Union(FileError, Lock.LockTimeout, Lock.LockLost, Lock.LockError)
/**
 * @since 0.1.0
 * @category errors
 */
export type TransactionError = FileError | Lock.LockTimeout | Lock.LockLost | Lock.LockError

/**
 * @since 0.1.0
 * @category models
 */
export interface WriteOptions {
  /** Permissions of a new file; an existing file keeps its own. Default: 0o666 minus the umask. */
  readonly mode?: number | undefined
  /** Whether the write fails if it cannot keep the owner of the file. Default: true. */
  readonly owner?: boolean | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Operations {
  /** The real path of the root. Relative paths start here. */
  readonly root: string
  readonly read: (path: string) => Effect.Effect<string, TransactionError>
  readonly readBytes: (path: string) => Effect.Effect<Uint8Array, TransactionError>
  readonly write: (
    path: string,
    content: string | Uint8Array,
    options?: WriteOptions
  ) => Effect.Effect<void, TransactionError>
  readonly update: <E, R>(
    path: string,
    f: (current: Option.Option<string>) => Effect.Effect<string, E, R>,
    options?: WriteOptions
  ) => Effect.Effect<string, E | TransactionError, R>
  readonly remove: (path: string) => Effect.Effect<void, TransactionError>
  readonly move: (from: string, to: string) => Effect.Effect<void, TransactionError>
  readonly makeDirectory: (
    path: string,
    options?: { readonly mode?: number | undefined }
  ) => Effect.Effect<void, TransactionError>
  readonly protect: (path: string) => Effect.Effect<string, TransactionError>
}

/**
 * The current file transaction. {@link run} provides it.
 *
 * @since 0.1.0
 * @category services
 */
export class FileTransaction extends Context.Tag("effect-recovery/FileTransaction")<FileTransaction, Operations>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<in E> {
  /**
   * `power-loss` survives power cuts: after a success all changes are on disk. `process-crash` survives only the death
   * of the process and is faster; a power cut may leave a mix of old and new files. Default: `power-loss`.
   */
  readonly durability?: Exclude<Durability, "ordered"> | undefined
  /**
   * Transactions of one root with different names run side by side, and exclude each other only by the locks of their
   * files. Each name has a journal of its own, which only a transaction or {@link recover} with this name rolls back.
   * Default: the journal of the root.
   */
  readonly name?: string | undefined
  /** How long to wait for each lock. 0 does not wait, `Infinity` waits without limit. Default: 30 seconds. */
  readonly timeout?: Lock.Options["timeout"]
  /** Which errors roll back. Default: all. Defects and interruption always roll back. */
  readonly rollbackWhen?: ((error: E | TransactionError) => boolean) | undefined
}

/**
 * The errors of a file transaction: those of the effect, of the changes, and of a failed rollback.
 *
 * @since 0.1.0
 * @category errors
 */
export type Failure<E> = E | TransactionError | RollbackFailed<E | TransactionError>

/**
 * Runs a transaction over the files and folders under a root. It locks the root,
 * so a root has one transaction at a time, and each file that it reads or
 * changes, with the locks of `AtomicFile.update`. The provided `Lock` layer
 * supplies both.
 *
 * A change is recorded in a journal in the root, then made at once by a rename.
 * If the effect fails, dies or is interrupted, the changes are undone in reverse
 * order: content, permissions and owners are restored, created files vanish. If
 * the process dies, the next transaction of the root undoes the changes first;
 * {@link recover} does only that.
 *
 * What could not be undone is refused before anything changes: mount points
 * (`Mounted`), and files of another file system or mount (`OtherDevice`).
 *
 * The journal names its owner. A program with other locks waits while the
 * transaction lives, then fails with a `LockTimeout` that names the owner.
 *
 * Inside `Transaction.run` it is a part of that transaction: it keeps its locks
 * and can still be rolled back until the outermost transaction ends. In a
 * workflow, run it inside a step.
 *
 * Programs that ignore the locks see changes that may be undone later, and a
 * rollback may overwrite what they write to these files.
 *
 * @example
 * ```ts
 * import { FileLock, FileTransaction } from "effect-recovery/files"
 * import { Effect } from "effect"
 * import * as fs from "node:fs"
 * import * as os from "node:os"
 *
 * const root = fs.mkdtempSync(`${os.tmpdir()}/example-`)
 *
 * const publish = Effect.gen(function* () {
 *   yield* FileTransaction.makeDirectory("posts")
 *   yield* FileTransaction.write("posts/1.md", "# Hello")
 *   yield* FileTransaction.write("index.md", "- Hello: posts/1.md")
 *   yield* Effect.fail("the linter says no")
 * }).pipe(FileTransaction.run(root))
 *
 * publish.pipe(
 *   Effect.provide(FileLock.layer({ folder: `${root}/locks` })),
 *   Effect.flip,
 *   Effect.runPromise
 * ).then((error) => console.log(error, fs.existsSync(`${root}/posts`))) // the linter says no false
 * ```
 *
 * @since 0.1.0
 * @category execution
 */
export const run: {
  /**
   * Runs the effect as a transaction over the files and folders under `root`. It locks the root and each
   * file that it reads or changes. If the effect fails, dies or is interrupted, or the process dies, the
   * changes are undone.
   */
  <E>(
    root: string,
    options?: Options<NoInfer<E>>
  ): <A, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, Failure<E>, Exclude<R, FileTransaction | Transaction.Transaction> | Lock.Lock>
  /**
   * Runs the effect as a transaction over the files and folders under `root`. It locks the root and each
   * file that it reads or changes. If the effect fails, dies or is interrupted, or the process dies, the
   * changes are undone.
   */
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    root: string,
    options?: Options<E>
  ): Effect.Effect<A, Failure<E>, Exclude<R, FileTransaction | Transaction.Transaction> | Lock.Lock>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    root: string,
    { durability = "power-loss", name, rollbackWhen, timeout }: Options<E> = {}
  ) =>
    Effect.flatMap(
      Lock.Lock,
      (locks) =>
        runTransaction(
          root,
          name,
          rollbackWhen,
          (real, restore) => openRoot(real, { durability, name, timeout }, locks, restore),
          ({ lost }, operations) => unlessLost(Effect.provideService(self, FileTransaction, operations), lost)
          // Excluding one service, then the other, excludes both; TypeScript does not simplify the type.
        ) as Effect.Effect<A, Failure<E>, Exclude<R, FileTransaction | Transaction.Transaction>>
    )
)

/**
 * @since 0.1.0
 * @category models
 */
export interface RecoverOptions extends Lock.Options {
  /** The name of the transaction. Default: none. */
  readonly name?: string | undefined
  /**
   * Keeps the changes of the dead process instead of undoing them. For programs that record elsewhere that the work
   * of the transaction succeeded. Default: false.
   */
  readonly commit?: boolean | undefined
}

/**
 * Rolls back the transaction of a dead process under a root. Returns whether
 * there was one. A transaction whose process lives is never rolled back: waits
 * for it, up to the timeout. Every transaction does this first, so only programs that just
 * read need to call it.
 *
 * @since 0.1.0
 * @category execution
 */
export const recover = (
  root: string,
  options?: RecoverOptions
): Effect.Effect<boolean, FileError | Lock.LockTimeout | Lock.LockLost | Lock.LockError, Lock.Lock> =>
  Effect.gen(function* () {
    const real = yield* realRoot(root)
    const failure = asFileError("Recovering the transaction of", root)
    if (!(yield* failure(hasRemains(real)))) return false
    const locks = yield* Lock.Lock
    const commit = options?.commit
    const folder = journalFolder(real, options?.name)
    const recovered = Effect.uninterruptibleMask((restore) =>
      recoverRoot(folder, {
        acquire: (from, name) => restore(from.acquire(name, options)),
        locks,
        durable: true,
        commit
      })
    )
    return yield* locks.withLock(Effect.zipLeft(recovered, failure(removeRemains(folder))), rootLock(folder), options)
  })

/**
 * Reads a file, and holds its lock until the transaction ends.
 *
 * @since 0.1.0
 * @category reading
 */
export const read = (path: string): Effect.Effect<string, TransactionError, FileTransaction> =>
  Effect.flatMap(FileTransaction, (transaction) => transaction.read(path))

/**
 * {@link read} for bytes.
 *
 * @since 0.1.0
 * @category reading
 */
export const readBytes = (path: string): Effect.Effect<Uint8Array, TransactionError, FileTransaction> =>
  Effect.flatMap(FileTransaction, (transaction) => transaction.readBytes(path))

/**
 * Writes the whole file, new or existing. A symbolic link is followed and stays;
 * permissions and owner stay.
 *
 * @since 0.1.0
 * @category changing
 */
export const write = (
  path: string,
  content: string | Uint8Array,
  options?: WriteOptions
): Effect.Effect<void, TransactionError, FileTransaction> =>
  Effect.flatMap(FileTransaction, (transaction) => transaction.write(path, content, options))

/**
 * Reads the file, computes the new content with the effect, and writes it. The
 * effect receives `None` if the file does not exist. Returns the new content.
 *
 * @since 0.1.0
 * @category changing
 */
export const update = <E, R>(
  path: string,
  f: (current: Option.Option<string>) => Effect.Effect<string, E, R>,
  options?: WriteOptions
): Effect.Effect<string, E | TransactionError, R | FileTransaction> =>
  Effect.flatMap(FileTransaction, (transaction) => transaction.update(path, f, options))

/**
 * Removes a file, a link, or a folder with its content, by one rename.
 *
 * @since 0.1.0
 * @category changing
 */
export const remove = (path: string): Effect.Effect<void, TransactionError, FileTransaction> =>
  Effect.flatMap(FileTransaction, (transaction) => transaction.remove(path))

/**
 * Moves a file, a link or a folder. A file replaces an existing file; any other
 * existing target fails with the reason `Exists`.
 *
 * @since 0.1.0
 * @category changing
 */
export const move = (from: string, to: string): Effect.Effect<void, TransactionError, FileTransaction> =>
  Effect.flatMap(FileTransaction, (transaction) => transaction.move(from, to))

/**
 * Creates a folder and its missing parents. An existing folder is unchanged.
 *
 * @since 0.1.0
 * @category changing
 */
export const makeDirectory = (
  path: string,
  options?: { readonly mode?: number | undefined }
): Effect.Effect<void, TransactionError, FileTransaction> =>
  Effect.flatMap(FileTransaction, (transaction) => transaction.makeDirectory(path, options))

/**
 * Copies a file or a folder, so that the program, or a program that it starts,
 * may change it directly. A rollback restores its content, permissions and
 * times, or removes it if it did not exist. All hard links of a file get the
 * content back, and a link that leads to it is restored too. Returns the full
 * path.
 *
 * A file that this user could not restore is refused: one that it can neither
 * replace nor write, or that is immutable. A file or folder that cannot be renamed
 * is restored in place.
 *
 * @since 0.1.0
 * @category changing
 */
export const protect = (path: string): Effect.Effect<string, TransactionError, FileTransaction> =>
  Effect.flatMap(FileTransaction, (transaction) => transaction.protect(path))
