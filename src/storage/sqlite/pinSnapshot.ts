import type { Database } from "./driver.js"

/**
 * Makes a backup copy the state of now: without this, it begins again at each commit of
 * another process. With a log, readers do not block writers; without one they do.
 */
export const pinSnapshot = (database: Database): void => {
  const row = database.prepare("PRAGMA journal_mode").get() as { readonly journal_mode: string }
  if (row.journal_mode !== "wal") return
  database.exec("BEGIN")
  database.prepare("SELECT COUNT(*) FROM sqlite_schema").get()
}
