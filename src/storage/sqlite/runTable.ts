import * as Exit from "effect/Exit"
import { entryChecksums, outcomeChecksum, signalChecksum } from "../checksum.js"
import { type Answer, leaseLost } from "../rows.js"
import type { LeaseLost } from "../StorageError.js"
import type * as Store from "../Store.js"
import type { Database } from "./driver.js"
import { marked, refuseDamaged } from "./rows.js"
import { type RunRow, runOf, runProblem, storedStatus } from "./runRows.js"
import { prepareRunStatements, type RunStatements } from "./runStatements.js"
import type { Alone } from "./writer.js"

/** A lease that this process has. */
interface Held {
  readonly owner: string
  /** The last line that was written under it, 0 before the first one of a new run; looked up if it is not known. */
  lastLine: number | undefined
}

/** The statements over runs, and the leases this process has. Call its methods while the connection is held. */
export class RunTable {
  readonly sql: RunStatements
  /** The leases that this process has, by the ids of their runs. */
  private readonly held = new Map<string, Held>()

  private readonly isGone: (owner: string) => boolean

  constructor(database: Database, isGone: (owner: string) => boolean) {
    this.isGone = isGone
    this.sql = prepareRunStatements(database)
  }

  /** With at most one lease, no other write can share the commit, so a write need not wait for others. */
  readonly alone = (): Alone | undefined => (this.held.size <= 1 ? "alone" : undefined)
  /** As `alone`, for one statement. */
  readonly single = (): Alone | undefined => (this.held.size <= 1 ? "single" : undefined)
  /** As `alone`, for a write that takes a lease. */
  readonly first = (): Alone | undefined => (this.held.size === 0 ? "alone" : undefined)
  /** As `first`, for one statement. */
  readonly firstSingle = (): Alone | undefined => (this.held.size === 0 ? "single" : undefined)

  isLeased({ key, owner, token }: Store.Lease): boolean {
    return this.sql.isLeased.get(key, token, owner) !== undefined
  }

  /** The line names the one before it, which must exist. It is looked up if it is not given. */
  insert(lease: Store.Lease, entry: Store.Entry, previous?: number): boolean {
    const { at, attempt, kind, payload, seq, step } = entry
    const { checksum, payloadChecksum } = entryChecksums(lease.key, entry)
    const { key, owner, token } = lease
    const { append, appendAfter } = this.sql
    if (previous === undefined) this.forgetLine(lease)
    // Spelled out twice: most statements of a program are this one, and it is called without an array.
    const inserted =
      previous === undefined
        ? append.run(seq, kind, step, attempt, at, payload, checksum, payloadChecksum, key, token, owner)
        : appendAfter.run(
            seq,
            kind,
            step,
            attempt,
            at,
            payload,
            checksum,
            payloadChecksum,
            previous || null,
            key,
            token,
            owner
          )
    return inserted.changes === 1
  }

  /** The insert of the first line checks the lease for all of them. */
  append(lease: Store.Lease, entries: ReadonlyArray<Store.Entry>): Answer<void, LeaseLost> {
    const held = this.heldBy(lease)
    let previous = held?.lastLine
    for (const entry of entries) {
      if (!this.insert(lease, entry, previous)) return leaseLost(lease)
      previous = entry.seq
    }
    if (held !== undefined) held.lastLine = previous
    return Exit.void
  }

  /** Records the outcome in one statement, unless the run has one, or has a parent. */
  finishAlone(lease: Store.Lease, outcome: Omit<Store.Outcome, "at">, now: number): Store.Outcome | undefined {
    const { key, owner, run, token } = lease
    const ended = { ...outcome, at: now }
    const values = [...storedStatus(ended), ended.exit, now, outcomeChecksum(run, ended)]
    return this.sql.finishRun.run(...values, key, token, owner).changes === 1 ? ended : undefined
  }

  /** Records the outcome, unless the run has one. */
  finish(lease: Store.Lease, outcome: Omit<Store.Outcome, "at">, now: number): Answer<Store.Outcome, LeaseLost> {
    const found = this.find(lease.run)
    if (found?.outcome !== undefined) return Exit.succeed(found.outcome)
    return found !== undefined && this.isLeased(lease) ? Exit.succeed(this.end(found, outcome, now)) : leaseLost(lease)
  }

  /** Records the outcome of a run that has none, and tells the parent. */
  end(run: Store.Run, outcome: Omit<Store.Outcome, "at">, now: number): Store.Outcome {
    const ended = { ...outcome, at: now }
    this.sql.endRun.run(...storedStatus(ended), ended.exit, now, outcomeChecksum(run.id, ended), run.key)
    const above = run.parent && (this.sql.openKeyOf.get(run.parent.run) as { readonly key: number } | undefined)
    if (run.parent !== undefined && above !== undefined) this.signal(above.key, run.parent.signal, "{}", now)
    return ended
  }

  /** Stores a signal of an open run, unless the run has one of this key. */
  signal(run: number, key: string, payload: string, now: number): boolean {
    const checksum = signalChecksum(run, { key, payload, at: now })
    if (this.sql.insertSignal.run({ run, key, payload, at: now, checksum }).changes === 0) return false
    this.sql.wakeRun.run(now, run)
    return true
  }

  /** Writes the first line of a journal whose lines were removed. */
  beginJournal(lease: Store.Lease, entry: Store.Entry): void {
    this.forgetLine(lease)
    this.append(lease, [entry])
  }

  /** This process has the lease from now on. */
  hold({ owner, run }: Store.Lease, lastLine?: number): void {
    this.held.set(run, { owner, lastLine })
  }

  private heldBy({ owner, run }: Pick<Store.Lease, "owner" | "run">): Held | undefined {
    const held = this.held.get(run)
    return held?.owner === owner ? held : undefined
  }

  /** The lease ends. */
  forget(lease: Pick<Store.Lease, "owner" | "run">): void {
    if (this.heldBy(lease) !== undefined) this.held.delete(lease.run)
  }

  /** The leases of the owner end. */
  forgetAll(owner: string): void {
    for (const [run, held] of this.held) if (held.owner === owner) this.held.delete(run)
  }

  /** Its last line is looked up at the next append. */
  forgetLine(lease: Store.Lease): void {
    const held = this.heldBy(lease)
    if (held !== undefined) held.lastLine = undefined
  }

  /** As `forgetLine`, of all leases. */
  readonly forgetLines = (): void => {
    for (const held of this.held.values()) held.lastLine = undefined
  }

  /** Among the processes whose leases have not ended, those that are known to be dead, as `releaseGone` takes them. */
  gone(now: number): ReadonlyArray<string> {
    const leasing = this.sql.leasing.all(now) as ReadonlyArray<{ readonly process: unknown }>
    return leasing.flatMap(({ process }) => (typeof process === "string" && this.isGone(process) ? [process] : []))
  }

  find(id: string): Store.Run | undefined {
    const row = this.findRow(id)
    return row && this.toRun(row)
  }

  /** Throws if the row is damaged. An index that leads to the row of another run is damage, too. */
  findRow(id: string): RunRow | undefined {
    const row = this.sql.findRun.get(id) as RunRow | undefined
    if (row === undefined) return undefined
    refuseDamaged(row.id === id ? runProblem(row) : "the index leads to another row", () => `run "${id}"`)
    return row
  }

  findByKey(key: number): Store.Run | undefined {
    const row = this.sql.findRunByKey.get(key) as RunRow | undefined
    if (row !== undefined) refuseDamaged(runProblem(row), () => `run "${row.id}"`)
    return row && this.toRun(row)
  }

  /** The id of a run, for messages. */
  nameOf(key: number): string {
    const row = this.sql.nameOf.get(key) as { readonly id: string } | undefined
    return row === undefined ? `number ${key}` : `"${row.id}"`
  }

  readonly toRun = (row: RunRow): Store.Run => runOf(row, this.isGone)

  /** A damaged row is a row of the list. */
  readonly toListed = (row: RunRow): Store.Run => marked(this.toRun(row), runProblem(row))
}
