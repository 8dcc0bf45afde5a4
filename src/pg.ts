/**
 * @since 0.1.0
 */

export * as PgStorage from "./storage/pg/PgStorage.js"
