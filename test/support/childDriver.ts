import type { SqliteClient } from "effect-recovery/sqlite"
import { afterAll, beforeAll } from "vitest"

const variable = "TEST_SQLITE_DRIVER"

/** The children of a suite open their database with this driver. */
export const useChildDriver = (driver: NonNullable<SqliteClient.Options["driver"]>): void => {
  beforeAll(() => {
    process.env[variable] = driver
  })
  afterAll(() => {
    delete process.env[variable]
  })
}
