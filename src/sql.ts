/**
 * @since 0.1.0
 */

export * as SqlStorage from "./storage/sql/SqlStorage.js"
