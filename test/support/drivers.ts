import { load as loadBetterSqlite3 } from "../../src/storage/sqlite/betterSqlite3.js"
import type { Driver } from "../../src/storage/sqlite/driver.js"
import { load as loadNodeSqlite } from "../../src/storage/sqlite/nodeSqlite.js"

const loaded = await Promise.allSettled([loadBetterSqlite3(), loadNodeSqlite()])

/** The drivers that this Node has: older ones have no SQLite of their own, and a package may be built for another Node. */
export const drivers: ReadonlyArray<Driver> = loaded.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []))
