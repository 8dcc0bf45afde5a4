import type * as fs from "node:fs"

/** Tells a file from all other files of this machine, whatever its names. */
export type FileIdentity = Pick<fs.BigIntStats, "dev" | "ino">

/**
 * Whether two paths or descriptors lead to one file. Only exact numbers are
 * accepted: those of `fs.Stats` are rounded above 2^53, where two files have equal ones.
 */
export const isSameFile = (a: FileIdentity, b: FileIdentity): boolean => a.ino === b.ino && a.dev === b.dev

/** Whether two files are on one file system. False if one of them does not exist. */
export const isSameDevice = (a: FileIdentity | undefined, b: FileIdentity | undefined): boolean =>
  a !== undefined && b !== undefined && a.dev === b.dev

/** The identity as a text, for a map. */
export const identityText = ({ dev, ino }: FileIdentity): string => `${dev}:${ino}`
