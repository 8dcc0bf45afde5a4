import { Worker } from "node:worker_threads"
import type { Database, Driver, Statement } from "./driver.js"
import { makeBind } from "./parameters.js"
import { refuseSeveral } from "./severalStatements.js"

/** The part of bun:sqlite that is used. */
interface Module {
  readonly Database: new (filename: string, options: object) => NativeDatabase
}

interface NativeDatabase {
  readonly inTransaction: boolean
  readonly prepare: (sql: string) => NativeStatement
  readonly exec: (sql: string) => unknown
  readonly loadExtension: (path: string) => void
  readonly close: () => void
}

interface NativeStatement {
  readonly columnNames: ReadonlyArray<string>
  readonly paramsCount: number
  readonly run: (...params: ReadonlyArray<unknown>) => ReturnType<Statement["run"]>
  readonly get: (...params: ReadonlyArray<unknown>) => Row | null
  readonly all: (...params: ReadonlyArray<unknown>) => ReadonlyArray<Row>
  readonly values: (...params: ReadonlyArray<unknown>) => ReadonlyArray<Array<unknown>>
  readonly iterate: (...params: ReadonlyArray<unknown>) => Iterable<Row>
  readonly safeIntegers: (toggle: boolean) => unknown
  readonly finalize: () => void
}

type Row = Record<string, unknown>

// A variable, so that bundlers and type checkers do not look for a module that only Bun has.
const name: string = "bun:sqlite"

export const load = async (): Promise<Driver> => {
  const { Database } = (await import(name)) as Module
  return {
    name: "bun:sqlite",
    open: ({ filename, readonly }) => {
      const access = readonly ? { readonly } : { readwrite: true, create: true }
      const database = new BunDatabase(new Database(filename, { strict: true, ...access }))
      // As the other drivers are compiled.
      database.exec("PRAGMA foreign_keys = ON")
      return database
    },
    backup: backupInWorker
  }
}

/** Bun copies a database only as a whole, so a thread of its own does it. */
const program = `
  const { workerData } = require("node:worker_threads")
  const database = new (require("bun:sqlite").Database)(workerData.source, { readonly: true })
  database.prepare("VACUUM INTO ?").run(workerData.destination)
  const copy = new (require("bun:sqlite").Database)(workerData.destination, { readonly: true })
  const { page_count } = copy.prepare("PRAGMA page_count").get()
  copy.close()
  database.close()
  require("node:worker_threads").parentPort.postMessage(page_count)`

const backupInWorker: Driver["backup"] = (source, destination, signal) =>
  new Promise((resolve, reject) => {
    const worker = new Worker(program, { eval: true, workerData: { source, destination } })
    let pages: number | undefined
    let failure: unknown
    worker.on("message", (message) => {
      pages = message
    })
    worker.on("error", (cause) => {
      failure = cause
    })
    const stop = () => void worker.terminate()
    signal.addEventListener("abort", stop)
    worker.on("exit", () => {
      signal.removeEventListener("abort", stop)
      if (pages === undefined) reject(failure ?? signal.reason)
      else resolve(pages)
    })
  })

/** A database of Bun is only closed once its statements are, so they are remembered. */
class BunDatabase implements Database {
  private readonly native: NativeDatabase
  private readonly statements = new Set<WeakRef<NativeStatement>>()
  private readonly collected = new FinalizationRegistry((one: WeakRef<NativeStatement>) => this.statements.delete(one))
  private isOpen = true

  constructor(native: NativeDatabase) {
    this.native = native
  }

  get inTransaction(): boolean {
    return this.isOpen && this.native.inTransaction
  }

  prepare(sql: string): Statement {
    refuseSeveral(sql)
    const native = this.native.prepare(sql)
    const reference = new WeakRef(native)
    this.statements.add(reference)
    this.collected.register(native, reference)
    return new BunStatement(native)
  }

  exec(sql: string): void {
    this.native.exec(sql)
  }

  loadExtension(path: string): void {
    this.native.loadExtension(path)
  }

  close(): void {
    this.isOpen = false
    for (const statement of this.statements) statement.deref()?.finalize()
    this.native.close()
  }
}

class BunStatement implements Statement {
  readonly reader: boolean
  private readonly native: NativeStatement
  private readonly hasParams: boolean
  private isRaw = false

  constructor(native: NativeStatement) {
    this.native = native
    this.reader = native.columnNames.length > 0
    this.hasParams = native.paramsCount > 0
  }

  run(...params: ReadonlyArray<unknown>): ReturnType<Statement["run"]> {
    return this.native.run(...this.bind(params))
  }

  get(...params: ReadonlyArray<unknown>): unknown {
    const row = this.native.get(...this.bind(params))
    return row === null ? undefined : withBuffers(row)
  }

  all(...params: ReadonlyArray<unknown>): ReadonlyArray<unknown> {
    const bound = this.bind(params)
    return (this.isRaw ? this.native.values(...bound) : this.native.all(...bound)).map(withBuffers)
  }

  *iterate(...params: ReadonlyArray<unknown>): Generator<unknown> {
    for (const row of this.native.iterate(...this.bind(params))) yield withBuffers(row)
  }

  raw(toggle: boolean): this {
    this.isRaw = toggle
    return this
  }

  safeIntegers(toggle: boolean): this {
    this.native.safeIntegers(toggle)
    return this
  }

  /** Without parameters, Bun would take those of the call before. */
  private bind(params: ReadonlyArray<unknown>): ReadonlyArray<unknown> {
    if (this.hasParams && params.length === 0) throw new RangeError("Too few parameter values were provided")
    return bind(params)
  }
}

const bind = makeBind(undefined)

/** Bytes as a `Buffer`, in place. */
const withBuffers = <R extends Row | Array<unknown>>(row: R): R => {
  const values: Record<string, unknown> | Array<unknown> = row
  for (const column in values) {
    const value = (values as Row)[column] // an array is read by its indices
    if (value instanceof Uint8Array) {
      ;(values as Row)[column] = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    }
  }
  return row
}
