import * as Layer from "effect/Layer"
import { afterAll, beforeAll, describe } from "vitest"
import { drivers } from "./drivers.js"
import { type Kept, type KeptOptions, storageIn } from "./kept.js"
import { inPostgres } from "./postgres.js"

const variable = "TEST_STORAGE"

/** The storage in a folder, as the children of the suite open it. */
export type StorageOf = (folder: string, options?: KeptOptions) => ReturnType<typeof storageIn>

/** The children of a suite keep their runs there. It is known when the tests run. */
export const useChildStorage = (kept: () => Kept): StorageOf => {
  beforeAll(() => {
    process.env[variable] = JSON.stringify(kept())
  })
  afterAll(() => {
    delete process.env[variable]
  })
  return (folder, options) => Layer.suspend(() => storageIn(kept(), folder, options))
}

/** The same tests over the clients that others have made: for SQLite, and for Postgres with connections for each process. */
export const inStockStorages = (title: string, tests: (storage: StorageOf) => void): void => {
  describe(`${title}, on the stock client of SQLite`, () => tests(useChildStorage(() => ({ kind: "stock" }))))
  inPostgres(`${title}, on Postgres`, (database) =>
    tests(useChildStorage(() => ({ kind: "postgres", address: database.address })))
  )
}

/** The same tests on the library's own client of SQLite, with each driver. */
export const inOwnStorages = (title: string, tests: (storage: StorageOf) => void): void => {
  for (const { name } of drivers) {
    describe(`${title}, on ${name}`, () => tests(useChildStorage(() => ({ kind: "sqlite", driver: name }))))
  }
}

/** The same tests on each storage that several processes can share. */
export const inChildStorages = (title: string, tests: (storage: StorageOf) => void): void => {
  inOwnStorages(title, tests)
  inStockStorages(title, tests)
}
