import type { SqliteClient } from "effect-recovery/sqlite"

/** What the parent has chosen: see test/support/childDriver.ts. */
export const childDriver = process.env["TEST_SQLITE_DRIVER"] as SqliteClient.Options["driver"]
