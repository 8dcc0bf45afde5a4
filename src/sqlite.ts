/**
 * @since 0.1.0
 */

export * as SqliteClient from "./storage/sqlite/SqliteClient.js"
export * as SqliteStorage from "./storage/sqlite/SqliteStorage.js"
