import { type KeptOptions, storageIn } from "../support/kept.js"

/** The storage that the parent has chosen: see test/support/childStorage.ts. */
export const childStorage = (folder: string, options?: KeptOptions) =>
  storageIn(JSON.parse(process.env["TEST_STORAGE"] ?? ""), folder, options)
