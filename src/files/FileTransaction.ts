/**
 * Changes to any number of files and folders that happen entirely or not at
 * all: undone if the transaction fails or is interrupted, and, at the next
 * opening, if its process was killed or the power went out.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Option from "effect/Option"
import * as Lock from "../lock/Lock.js"
import type { RollbackFailed } from "../transaction/RollbackFailed.js"
import type * as Transaction from "../transaction/Transaction.js"
import type { Durability } from "./AtomicFile.js"
import type { FileError } from "./FileError.js"
import { doing } from "./internal/system/errors.js"
import { within } from "./internal/transaction/join.js"
import { isLeft } from "./internal/transaction/journal.js"
import { open, realRoot, rootLock } from "./internal/transaction/opened.js"
import { recover as recoverRoot } from "./internal/transaction/recover.js"

/**
 * What a change can fail with.
 *
 * @since 0.1.0
 * @category errors
 */
export type TransactionError = FileError | Lock.LockTimeout | Lock.LockLost | Lock.LockError

/**
 * @since 0.1.0
 * @category models
 */
export interface WriteOptions {
  /** Permissions of a file that is new; one that is there keeps its own. Defaults to what the umask leaves of 0o666. */
  readonly mode?: number | undefined
  /** Whether a file of another owner must stay that owner's. Defaults to true. */
  readonly owner?: boolean | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Operations {
  /** The folder of the transaction. Relative paths begin here. */
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
 * The transaction around. {@link run} provides it.
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
   * `power-loss` (the default): once it has succeeded everything is on disk, and nothing is undone half whatever
   * happens. `process-crash`: as good against the end of the process, and faster; a power cut may mix old and new.
   */
  readonly durability?: Exclude<Durability, "ordered"> | undefined
  /** How long to wait for each lock. Defaults to 30 seconds. */
  readonly timeout?: Lock.Options["timeout"]
  /** Which errors undo the changes. Defaults to all of them. Defects and interruption always do. */
  readonly rollbackWhen?: ((error: E | TransactionError) => boolean) | undefined
}

/**
 * What a file transaction can fail with, beside what is run in it.
 *
 * @since 0.1.0
 * @category errors
 */
export type Failure<E> = E | TransactionError | RollbackFailed<E | TransactionError>

/**
 * Runs a transaction over the files and folders under a root. One transaction
 * at a time has a root, and the locks of the files it reads or changes are
 * those of `AtomicFile.update`; both come from the `Lock` layer that is provided.
 *
 * Changes are made at once, each file by a rename, after the journal beside the
 * files has been told. If the effect fails, dies or is interrupted they are
 * undone in reverse: files get back their contents, permissions and owners, and what
 * was created vanishes. If its process is killed, the next transaction of the
 * root undoes them first; {@link recover} does only that.
 *
 * Inside of `Transaction.run` it is part of that transaction: the locks are
 * kept, and everything can still be undone, until the outermost one has
 * ended. Inside of a workflow put it into a step.
 *
 * Programs that ignore the locks are not kept out: they can see changes that are
 * undone later, and what they write to these files meanwhile may be undone too.
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
  <E>(
    root: string,
    options?: Options<NoInfer<E>>
  ): <A, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, Failure<E>, Exclude<R, FileTransaction | Transaction.Transaction> | Lock.Lock>
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
    { durability = "power-loss", rollbackWhen, timeout }: Options<E> = {}
  ): Effect.Effect<A, Failure<E>, Exclude<R, FileTransaction | Transaction.Transaction> | Lock.Lock> =>
    Effect.flatMap(Lock.Lock, (locks) => {
      const transaction = within(
        root,
        rollbackWhen,
        (real, restore) => open(real, { durability, timeout }, locks, restore),
        (opened, operations) =>
          Effect.raceFirst(Effect.provideService(self, FileTransaction, operations), Deferred.await(opened.lost))
      )
      // First the one service is left out, then the other one.
      return transaction as Effect.Effect<A, Failure<E>, Exclude<R, FileTransaction | Transaction.Transaction>>
    })
)

/**
 * Undoes what a process has left under a root that ended in the middle of a
 * transaction, and answers with whether there was anything. Each transaction
 * does it at its beginning; this is for the start of a program that only reads.
 *
 * @since 0.1.0
 * @category execution
 */
export const recover = (
  root: string,
  options?: Lock.Options
): Effect.Effect<boolean, FileError | Lock.LockTimeout | Lock.LockLost | Lock.LockError, Lock.Lock> =>
  Effect.gen(function* () {
    const real = yield* realRoot(root)
    if (!(yield* isLeft(real).pipe(doing("Recovering the transaction of", root)))) return false
    const locks = yield* Lock.Lock
    const recovered = Effect.uninterruptibleMask((restore) =>
      recoverRoot(real, (name) => restore(locks.acquire(name, options)))
    )
    return yield* locks.withLock(recovered, rootLock(real), options)
  })

/**
 * Reads a file, and keeps others from changing it until the transaction has ended.
 *
 * @since 0.1.0
 * @category reading
 */
export const read = (path: string): Effect.Effect<string, TransactionError, FileTransaction> =>
  Effect.flatMap(FileTransaction, (transaction) => transaction.read(path))

/**
 * As {@link read}, for files that are no text.
 *
 * @since 0.1.0
 * @category reading
 */
export const readBytes = (path: string): Effect.Effect<Uint8Array, TransactionError, FileTransaction> =>
  Effect.flatMap(FileTransaction, (transaction) => transaction.readBytes(path))

/**
 * Writes the whole file, new or not. A symbolic link is followed, and stays;
 * permissions and owner stay too.
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
 * Reads the file, lets the effect make a new content of it, and writes that.
 * The effect is told nothing (`None`) if the file does not exist.
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
 * Removes a file, a link, or a folder with everything in it, in one step.
 *
 * @since 0.1.0
 * @category changing
 */
export const remove = (path: string): Effect.Effect<void, TransactionError, FileTransaction> =>
  Effect.flatMap(FileTransaction, (transaction) => transaction.remove(path))

/**
 * Moves a file, a link or a folder. A file takes the place of a file; anything
 * else that is there already is an error.
 *
 * @since 0.1.0
 * @category changing
 */
export const move = (from: string, to: string): Effect.Effect<void, TransactionError, FileTransaction> =>
  Effect.flatMap(FileTransaction, (transaction) => transaction.move(from, to))

/**
 * Makes a folder, and those it lies in. One that exists is left as it is.
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
 * Keeps a copy of a file or a folder, so that the program, or another one it
 * runs, can change it in its own way: if the transaction fails, it is as it is
 * now, with its permissions and times, or gone if it is not there yet. Answers with its full path.
 *
 * @since 0.1.0
 * @category changing
 */
export const protect = (path: string): Effect.Effect<string, TransactionError, FileTransaction> =>
  Effect.flatMap(FileTransaction, (transaction) => transaction.protect(path))
