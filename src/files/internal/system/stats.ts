import * as fs from "node:fs"
import type { FileIdentity } from "../../../host/fileIdentity.js"

/** What is known of a file, folder or link: its identity exactly, the rest as numbers. */
export class FileStats implements FileIdentity {
  readonly dev: bigint
  readonly ino: bigint
  /** The kind and the permissions. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** The number of names of a file. */
  readonly links: number
  readonly size: number
  /** Seconds since the epoch. */
  readonly accessed: number
  /** Seconds since the epoch. */
  readonly modified: number

  constructor(exact: fs.BigIntStats) {
    this.dev = exact.dev
    this.ino = exact.ino
    this.mode = Number(exact.mode)
    this.uid = Number(exact.uid)
    this.gid = Number(exact.gid)
    this.links = Number(exact.nlink)
    this.size = Number(exact.size)
    this.accessed = Number(exact.atimeNs) / 1e9
    this.modified = Number(exact.mtimeNs) / 1e9
  }

  private is(kind: number): boolean {
    return (this.mode & fs.constants.S_IFMT) === kind
  }
  isFile(): boolean {
    return this.is(fs.constants.S_IFREG)
  }
  isDirectory(): boolean {
    return this.is(fs.constants.S_IFDIR)
  }
  isSymbolicLink(): boolean {
    return this.is(fs.constants.S_IFLNK)
  }
}
