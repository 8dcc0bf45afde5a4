import type { Database, Driver, Statement } from "./driver.js"
import { type Bind, makeBind } from "./parameters.js"
import { pinSnapshot } from "./pinSnapshot.js"
import { codeName } from "./resultCodes.js"
import { refuseSeveral } from "./severalStatements.js"

/** The part of node:sqlite that is used. */
interface Module {
  readonly DatabaseSync: new (filename: string, options: object) => NativeDatabase
  /** Missing before Node 22.16, together with other functions that are used here. */
  readonly backup?: (source: NativeDatabase, destination: string, options: object) => Promise<number>
}

interface NativeDatabase {
  readonly isOpen: boolean
  readonly isTransaction: boolean
  readonly prepare: (sql: string) => NativeStatement
  readonly exec: (sql: string) => void
  /** Missing in Deno, which loads extensions by `loadExtension` alone, and only if the program may load native code. */
  readonly enableLoadExtension?: (allow: boolean) => void
  readonly loadExtension: (path: string) => void
  readonly close: () => void
}

interface NativeStatement {
  readonly columns: () => ReadonlyArray<unknown>
  readonly run: (...params: ReadonlyArray<unknown>) => ReturnType<Statement["run"]>
  readonly get: (...params: ReadonlyArray<unknown>) => NativeRow | undefined
  readonly all: (...params: ReadonlyArray<unknown>) => ReadonlyArray<NativeRow>
  readonly iterate: (...params: ReadonlyArray<unknown>) => Iterable<NativeRow>
  readonly setReadBigInts: (enabled: boolean) => void
  readonly setReturnArrays: (enabled: boolean) => void
  readonly setAllowUnknownNamedParameters: (enabled: boolean) => void
}

type NativeRow = Readonly<Record<string, unknown>> | ReadonlyArray<unknown>

// A variable, so that bundlers and type checkers do not look for a module that older versions of Node lack.
const name: string = "node:sqlite"

export const load = async (): Promise<Driver> => {
  const { backup, DatabaseSync } = (await import(name)) as Module
  if (backup === undefined) throw new Error(`it needs Node 22.16 or later, and this is ${process.version}`)
  // Where a program may not load native code, asking for it would throw.
  const allowExtension = !("permission" in process)
  const openNative = (filename: string, readonly: boolean): NativeDatabase => {
    const native = named(() => new DatabaseSync(filename, { readOnly: readonly, timeout: 0, allowExtension }))
    if (allowExtension) native.enableLoadExtension?.(false)
    return native
  }
  const bind = makeBind(losesNul(openNative(":memory:", false)) ? nul : undefined)
  const adapt = (native: NativeDatabase) => new NodeDatabase(native, bind)
  return {
    name: "node:sqlite",
    open: ({ filename, readonly }) => adapt(openNative(filename, readonly)),
    backup: async (source, destination, signal) => {
      const native = openNative(source, true)
      try {
        pinSnapshot(adapt(native))
        return await backup(native, destination, { progress: () => signal.throwIfAborted() })
      } catch (cause) {
        throw withCode(cause)
      } finally {
        native.close()
      }
    }
  }
}

const nul = `node:sqlite of Node ${process.version} loses what follows a NUL character in a text. Use a newer Node, or better-sqlite3`

/** Node 22 reads a text only up to a NUL character. */
const losesNul = (database: NativeDatabase): boolean => {
  const row = database.prepare("SELECT char(97, 0, 97) AS text").get() as { readonly text: string }
  database.close()
  return row.text.length < 3
}

class NodeDatabase implements Database {
  private readonly native: NativeDatabase
  private readonly bind: Bind

  constructor(native: NativeDatabase, bind: Bind) {
    this.native = native
    this.bind = bind
  }

  get inTransaction(): boolean {
    return this.native.isOpen && this.native.isTransaction
  }

  prepare(sql: string): Statement {
    refuseSeveral(sql)
    return named(() => new NodeStatement(this.native.prepare(sql), this.bind))
  }

  exec(sql: string): void {
    named(() => this.native.exec(sql))
  }

  loadExtension(path: string): void {
    this.native.enableLoadExtension?.(true)
    try {
      named(() => this.native.loadExtension(path))
    } finally {
      this.native.enableLoadExtension?.(false)
    }
  }

  close(): void {
    if (this.native.isOpen) this.native.close()
  }
}

/**
 * Numbers are read as bigints: otherwise one above 2^53 makes the whole statement fail.
 * They become the nearest number, as with better-sqlite3.
 */
class NodeStatement implements Statement {
  readonly reader: boolean
  private readonly native: NativeStatement
  private readonly bind: Bind
  private keepsBigInts = false

  constructor(native: NativeStatement, bind: Bind) {
    this.native = native
    this.bind = bind
    this.reader = native.columns().length > 0
    native.setAllowUnknownNamedParameters(true)
    if (this.reader) native.setReadBigInts(true)
  }

  run(...params: ReadonlyArray<unknown>): ReturnType<Statement["run"]> {
    const bound = this.bind(params)
    try {
      return this.native.run(...bound)
    } catch (cause) {
      throw withCode(cause)
    }
  }

  get(...params: ReadonlyArray<unknown>): unknown {
    const bound = this.bind(params)
    try {
      const row = this.native.get(...bound)
      return row && this.toRow(row)
    } catch (cause) {
      throw withCode(cause)
    }
  }

  all(...params: ReadonlyArray<unknown>): ReadonlyArray<unknown> {
    const bound = this.bind(params)
    try {
      return this.native.all(...bound).map(this.toRow)
    } catch (cause) {
      throw withCode(cause)
    }
  }

  *iterate(...params: ReadonlyArray<unknown>): Generator<unknown> {
    const bound = this.bind(params)
    try {
      for (const row of this.native.iterate(...bound)) yield this.toRow(row)
    } catch (cause) {
      throw withCode(cause)
    }
  }

  raw(toggle: boolean): this {
    this.native.setReturnArrays(toggle)
    return this
  }

  safeIntegers(toggle: boolean): this {
    this.keepsBigInts = toggle
    return this
  }

  /** The rows of Node have no prototype, so programs that call a method of theirs would fail. */
  private readonly toRow = (row: NativeRow): unknown => {
    if (isArray(row)) return row.map(this.toValue)
    const plain: Record<string, unknown> = {}
    for (const column in row) plain[column] = this.toValue(row[column])
    return plain
  }

  private readonly toValue = (value: unknown): unknown => {
    if (typeof value === "bigint") return this.keepsBigInts ? value : Number(value)
    return value instanceof Uint8Array ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : value
  }
}

/** `Array.isArray` does not narrow read-only arrays. */
const isArray = (row: NativeRow): row is ReadonlyArray<unknown> => Array.isArray(row)

const named = <A>(call: () => A): A => {
  try {
    return call()
  } catch (cause) {
    throw withCode(cause)
  }
}

/** Node has one code for all errors of SQLite, and the number beside it. */
const withCode = (cause: unknown): unknown =>
  cause instanceof Error && "errcode" in cause && typeof cause.errcode === "number"
    ? Object.assign(cause, { code: codeName(cause.errcode) })
    : cause
