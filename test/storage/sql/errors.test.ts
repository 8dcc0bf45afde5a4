import { SqlError } from "@effect/sql/SqlError"
import { assert, describe, it } from "@effect/vitest"
import { toStorageError } from "../../../src/storage/sql/errors.js"

/** What the drivers fail with, by the reason that a program sees. */
const failures: ReadonlyArray<
  readonly [reason: string, ...errors: ReadonlyArray<{ code?: string; message?: string }>]
> = [
  [
    "Unavailable",
    { code: "08006" },
    { code: "57P01" },
    { code: "57P03" },
    { code: "53300" },
    { code: "ECONNREFUSED" },
    { code: "ECONNRESET" },
    { message: "Connection terminated unexpectedly" },
    { message: "timeout exceeded when trying to connect" },
    { message: "Client has encountered a connection error and is not queryable" }
  ],
  ["Rejected", { code: "08P01" }, { code: "42601" }, { message: "something else" }],
  ["Busy", { code: "40001" }, { code: "40P01" }, { code: "57014" }, { code: "SQLITE_BUSY" }],
  ["ReadOnly", { code: "25006" }, { code: "SQLITE_READONLY" }],
  ["Aborted", { code: "25P02" }],
  ["Forbidden", { code: "42501" }, { code: "28P01" }],
  ["CannotOpen", { code: "3D000" }, { code: "3F000" }, { code: "SQLITE_CANTOPEN" }],
  ["Full", { code: "53100" }, { code: "SQLITE_FULL" }],
  ["Corrupt", { code: "XX001" }, { code: "SQLITE_CORRUPT" }],
  [
    "Closed",
    { message: "Cannot use a pool after calling end on the pool" },
    { message: "The database connection is not open" }
  ]
]

describe("errors of a client", () => {
  for (const [reason, ...errors] of failures) {
    it(`are ${reason} where they are`, () => {
      for (const { code, message } of errors) {
        const cause = Object.assign(new Error(message ?? code), code === undefined ? {} : { code })
        const error = toStorageError("Testing")(new SqlError({ cause: new SqlError({ cause }), message: "Failed" }))
        assert.strictEqual(error.reason, reason, `${code ?? message}`)
        assert.strictEqual(error.cause, cause)
      }
    })
  }
})
