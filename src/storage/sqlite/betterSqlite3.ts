import type { Database, Driver } from "./driver.js"
import { pinSnapshot } from "./pinSnapshot.js"

interface Native extends Database {
  readonly backup: (
    destination: string,
    options: { readonly progress: () => number }
  ) => Promise<{ readonly totalPages: number }>
}

type Constructor = new (
  filename: string,
  options?: { readonly timeout: number; readonly readonly: boolean; readonly fileMustExist: boolean }
) => Native

// A variable, so that bundlers and type checkers do not require a package that not all users install.
const name: string = "better-sqlite3"

/** About a millisecond of copying between two turns of the event loop. */
const pagesInOneTurn = 100

export const load = async (): Promise<Driver> => {
  const { default: Sqlite } = (await import(name)) as { readonly default: Constructor }
  // Its native part is loaded with the first database, and fails where it was built for another Node.
  new Sqlite(":memory:").close()
  const open = ({ filename, readonly }: Parameters<Driver["open"]>[0]): Native =>
    new Sqlite(filename, { timeout: 0, readonly, fileMustExist: readonly })
  return {
    name: "better-sqlite3",
    open,
    backup: async (source, destination, signal) => {
      const database = open({ filename: source, readonly: true })
      try {
        pinSnapshot(database)
        const progress = () => {
          signal.throwIfAborted()
          return pagesInOneTurn
        }
        return (await database.backup(destination, { progress })).totalPages
      } finally {
        database.close()
      }
    }
  }
}
