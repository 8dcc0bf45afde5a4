/**
 * @since 0.1.0
 */

export * as AtomicFile from "./files/AtomicFile.js"
export * as Backup from "./files/Backup.js"
export * as DirectoryLock from "./files/DirectoryLock.js"
export * as FileLock from "./files/FileLock.js"
export * as FileTransaction from "./files/FileTransaction.js"
export * as JsonLog from "./files/JsonLog.js"
