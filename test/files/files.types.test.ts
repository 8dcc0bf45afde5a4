import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import { Lock, type Storage, type Transaction } from "effect-recovery"
import { AtomicFile, Backup, DirectoryLock, FileLock, FileTransaction } from "effect-recovery/files"
import { describe, expectTypeOf, it } from "vitest"

class Bad extends Data.TaggedError("Bad")<{}> {}
class Gateway extends Context.Tag("Gateway")<Gateway, {}>() {}

const work: Effect.Effect<number, Bad, Gateway> = Effect.succeed(1)
const protectedWork: Effect.Effect<number, Bad, Gateway | Lock.Held> = work

type LockFailure = Lock.LockTimeout | Lock.LockLost | Lock.LockError

describe("the types of locks", () => {
  it("a lock adds its failures and its service, and gives what it protects the lock that is held", () => {
    expectTypeOf(work.pipe(Lock.withLock(Lock.task("T")))).toEqualTypeOf<
      Effect.Effect<number, Bad | LockFailure, Gateway | Lock.Lock>
    >()
    expectTypeOf(Lock.withLock(protectedWork, "name", { timeout: "1 second" })).toEqualTypeOf<
      Effect.Effect<number, Bad | LockFailure, Gateway | Lock.Lock>
    >()
    expectTypeOf(protectedWork.pipe(Lock.withLockIfAvailable("name"))).toEqualTypeOf<
      Effect.Effect<Option.Option<number>, Bad | Lock.LockLost | Lock.LockError, Gateway | Lock.Lock>
    >()
    // @ts-expect-error an effect that requires a held lock does not compile outside withLock
    const outside: Effect.Effect<number, Bad, Gateway> = protectedWork
    // @ts-expect-error a name is a string or a Name
    Lock.withLock(work, { id: "T" })
    expectTypeOf(outside).toBeObject()
  })

  it("each layer is the same service", () => {
    expectTypeOf(FileLock.layer).returns.toEqualTypeOf<Layer.Layer<Lock.Lock, Lock.LockError>>()
    expectTypeOf(DirectoryLock.layer).returns.toEqualTypeOf<Layer.Layer<Lock.Lock>>()
    expectTypeOf(Lock.layerStorage).returns.toEqualTypeOf<Layer.Layer<Lock.Lock, never, Storage.Storage>>()
  })
})

describe("the types of files", () => {
  it("a write needs nothing, an update a lock and what its effect needs", () => {
    expectTypeOf(AtomicFile.write("file", "")).toEqualTypeOf<Effect.Effect<void, AtomicFile.FileError>>()
    expectTypeOf(AtomicFile.update("file", () => Effect.as(protectedWork, ""))).toEqualTypeOf<
      Effect.Effect<string, Bad | AtomicFile.FileError | LockFailure, Gateway | Lock.Lock>
    >()
    expectTypeOf(Backup.take("file")).toEqualTypeOf<Effect.Effect<Backup.Backup, AtomicFile.FileError>>()
    // @ts-expect-error an unknown durability
    AtomicFile.write("file", "", { durability: "none" })
  })

  it("a transaction has what its changes need, and says what can go wrong with it", () => {
    const changes = Effect.zipRight(FileTransaction.write("file", ""), work)
    type Inside = Bad | FileTransaction.TransactionError | Lock.LockLost
    expectTypeOf(changes.pipe(FileTransaction.run("root"))).toEqualTypeOf<
      Effect.Effect<number, Inside | Transaction.RollbackFailed<Inside>, Gateway | Lock.Lock>
    >()
    const compensated = changes as Effect.Effect<
      number,
      Bad | FileTransaction.TransactionError,
      Gateway | FileTransaction.FileTransaction | Transaction.Transaction
    >
    expectTypeOf(FileTransaction.run(compensated, "root")).toEqualTypeOf<
      Effect.Effect<number, Inside | Transaction.RollbackFailed<Inside>, Gateway | Lock.Lock>
    >()
    // @ts-expect-error a change does not compile outside a transaction
    const outside: Effect.Effect<void, FileTransaction.TransactionError> = FileTransaction.remove("file")
    expectTypeOf(outside).toBeObject()
    FileTransaction.run(changes, "root", {
      rollbackWhen: (error) => {
        expectTypeOf(error).toEqualTypeOf<Inside>()
        return true
      }
    })
  })
})
