import { load as loadBetterSqlite3 } from "../../src/storage/sqlite/betterSqlite3.js"
import type { Database, Driver } from "../../src/storage/sqlite/driver.js"
import { load as loadNodeSqlite } from "../../src/storage/sqlite/nodeSqlite.js"

const loaded = await Promise.allSettled([loadBetterSqlite3(), loadNodeSqlite()])

/** The drivers that this Node has: older ones have no SQLite of their own, and a package may be built for another Node. */
export const drivers: ReadonlyArray<Driver> = loaded.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []))

/** A connection of another program, by the driver that storages take by themselves: two libraries would not see each other's locks. */
export const connect = (filename: string, { readonly = false } = {}): Database => {
  const [driver] = drivers
  if (driver === undefined) throw new Error("no driver of SQLite loads")
  return driver.open({ filename, readonly })
}

/** Without NUL characters where the SQLite of this Node refuses them. */
export const storable = (text: string): string => {
  const database = connect(":memory:")
  try {
    database.prepare("SELECT ?").get(text)
    return text
  } catch {
    return text.replaceAll("\0", "")
  } finally {
    database.close()
  }
}
