import { SqliteStorage } from "effect-recovery/sqlite"

export const storage = SqliteStorage.layer({ filename: "orders.db" })
