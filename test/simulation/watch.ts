import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { Storage } from "effect-recovery"
import type { Watcher } from "./network.js"
import type { Machine, Process } from "./process.js"

/** What the store's history says of one run. */
interface Watched {
  readonly id: string
  /** Since when a worker could have it; infinity while none could. */
  available: number
  isFree: boolean
  freedAt: number
  leaseUntil: number
  token: number
  owner: Process | undefined
  readonly completed: Set<string>
  isEnded: boolean
}

/** What the store's history says of one worker. */
export interface Tally {
  readonly concurrency: number
  versions: ReadonlySet<string>
  /** Whether it is to look for this run. */
  readonly owns: (run: string) => boolean
  /** Runs leased to it. */
  readonly leased: Set<string>
  /** Since when it has been in order and has had places, as its claims show. */
  freeSince: number
  /** When it asked for what it has no answer to. */
  askedAt: number | undefined
  /** When it last gave up a run, or left it out of a claim: it had it, or the run had stopped there. */
  readonly excluded: Map<string, number>
  readonly owners: Set<string>
  crashedAt: number
  /** It crashed or leaves. */
  isOut: boolean
  claims: number
  empty: number
  claimed: number
}

export interface Measures {
  /** Claims that asked for runs, those that got none, and the runs they got. */
  claims: number
  empty: number
  claimed: number
  lost: number
  failed: number
  readonly wakeUps: Array<number>
  /** From a crash until another worker had the run. */
  readonly recoveries: Array<number>
}

export interface WatchOptions {
  /** A worker in order looks for runs at least this often, in milliseconds. */
  readonly bound: number
  /** Checks each event. Large simulations only measure. */
  readonly isChecked: boolean
  /** Keeps a text of each event, to show or to compare. */
  readonly isRecorded: boolean
}

/** Sees everything that happens in the store. Notes what must not happen, and measures the rest. */
export class Watch implements Watcher {
  readonly faults: Array<string> = []
  readonly lines: Array<string> = []
  readonly measures: Measures = { claims: 0, empty: 0, claimed: 0, lost: 0, failed: 0, wakeUps: [], recoveries: [] }
  readonly tallies = new Map<Process, Tally>()
  open = 0
  /** Runs that have ended and are no children. */
  ended = 0
  private readonly runs = new Map<string, Watched>()
  private longestCall = 0
  private readonly machine: Machine
  private readonly options: WatchOptions
  private readonly find: (run: string) => Storage.Run | undefined

  constructor(machine: Machine, options: WatchOptions, find: (run: string) => Storage.Run | undefined) {
    this.machine = machine
    this.options = options
    this.find = find
  }

  addWorker(process: Process, concurrency: number, owns: (run: string) => boolean): void {
    this.tallies.set(process, {
      concurrency,
      versions: new Set(),
      owns,
      leased: new Set(),
      freeSince: Number.POSITIVE_INFINITY,
      askedAt: undefined,
      excluded: new Map(),
      owners: new Set(),
      crashedAt: Number.POSITIVE_INFINITY,
      isOut: false,
      claims: 0,
      empty: 0,
      claimed: 0
    })
  }

  /** The worker is no longer in order, until it is again. */
  disturbed(process: Process): void {
    const tally = this.tallies.get(process)
    if (tally !== undefined) tally.freeSince = Number.POSITIVE_INFINITY
  }

  /** The worker crashed or leaves. */
  out(process: Process, isCrash: boolean): void {
    const tally = this.tallies.get(process)
    if (tally === undefined) return
    tally.isOut = true
    if (isCrash) tally.crashedAt = this.machine.timeline.now
  }

  fault(text: string): void {
    if (this.faults.length < 20) this.faults.push(`at ${this.machine.timeline.now.toFixed(3)}: ${text}`)
  }

  note(line: string): void {
    if (this.options.isRecorded) this.lines.push(`${this.machine.timeline.now.toFixed(3)} ${line}`)
  }

  // ---- what happens

  happened(process: Process, kind: string, args: ReadonlyArray<unknown>, exit: Exit.Exit<unknown, unknown>): void {
    if (this.options.isRecorded) this.note(`${process.name} ${kind} ${summaryOf(args, exit)}`)
    if (Exit.isFailure(exit)) {
      if (kind === "append" || kind === "finish" || kind === "suspend") this.measures.lost++
      return
    }
    this.followed(process, kind, args, exit.value)
  }

  private followed(process: Process, kind: string, args: ReadonlyArray<unknown>, value: unknown): void {
    const [first, second] = args
    switch (kind) {
      case "claimDue":
        this.claimed(process, first as Storage.DueQuery, String(second), value as ReadonlyArray<Storage.DueRun>)
        break
      case "open": {
        const opened = value as Storage.Opened
        if ("lease" in opened) this.leased(process, opened.run, opened.lease, false)
        break
      }
      case "append":
        this.appended(first as Storage.Lease, second as ReadonlyArray<Storage.Entry>)
        break
      case "renew":
        this.renewed(first as ReadonlyArray<Storage.Lease>, new Set(value as ReadonlyArray<Storage.Lease>))
        break
      case "release":
        if (typeof second === "string") this.changed(second)
        else for (const run of [...(this.tallies.get(process)?.leased ?? [])]) this.changed(run)
        break
      case "enqueue":
        this.changed((first as Storage.EnqueueRequest).id)
        break
      case "suspend":
      case "finish":
        this.changed((first as Storage.Lease).run)
        break
      case "endPlacedLeases":
        for (const run of [...this.runs.values()]) if (!run.isEnded) this.refresh(run)
        break
      case "signal":
      case "cancel":
      case "hold":
      case "releaseHold":
        this.changed(String(first))
        break
    }
  }

  private renewed(leases: ReadonlyArray<Storage.Lease>, lost: ReadonlySet<Storage.Lease>): void {
    for (const lease of leases) {
      const run = this.runs.get(lease.run)
      if (run !== undefined && !lost.has(lease) && run.token === lease.token) this.refresh(run)
    }
  }

  asked(process: Process, kind: string): void {
    if (kind !== "claimDue" && kind !== "backlog" && kind !== "endPlacedLeases") return
    const tally = this.tallies.get(process)
    if (tally !== undefined) tally.askedAt ??= this.machine.timeline.now
  }

  answered(
    process: Process,
    kind: string,
    args: ReadonlyArray<unknown>,
    exit: Exit.Exit<unknown, unknown>,
    sent: number
  ): void {
    const { now } = this.machine.timeline
    const tally = this.tallies.get(process)
    if (Exit.isSuccess(exit)) this.longestCall = Math.max(this.longestCall, now - sent)
    else if (this.options.isChecked) {
      const error = Option.getOrUndefined(Exit.causeOption(exit))
      if (String(error).includes("Unavailable")) this.measures.failed++
    }
    if (
      tally !== undefined &&
      this.options.isChecked &&
      (kind === "finish" || kind === "suspend" || kind === "release")
    ) {
      tally.excluded.set(kind === "release" ? String(args[1]) : (args[0] as Storage.Lease).run, now)
    }
    if (tally === undefined || !looks.has(kind)) return
    if (kind === "claimDue" || Exit.isFailure(exit)) tally.askedAt = undefined
    // A look that fails is repeated after a pause.
    if (Exit.isFailure(exit)) tally.freeSince = Number.POSITIVE_INFINITY
  }

  private claimed(
    process: Process,
    query: Storage.DueQuery,
    owner: string,
    found: ReadonlyArray<Storage.DueRun>
  ): void {
    const { measures } = this
    const { now } = this.machine.timeline
    const tally = this.tallies.get(process)
    measures.claims++
    if (found.length === 0) measures.empty++
    measures.claimed += found.length
    if (tally !== undefined) {
      tally.claims++
      if (found.length === 0) tally.empty++
      tally.claimed += found.length
      tally.owners.add(owner)
      tally.versions = new Set(query.workflows.map(({ version, workflow }) => `${workflow} ${version}`))
      for (const run of query.except ?? []) tally.excluded.set(run, now)
    }
    for (const one of found) if (one._tag === "Claimed") this.leased(process, one.run, one.lease, true)
    if (tally === undefined) return
    const isFree = process.isUp && found.length < query.limit
    tally.freeSince = isFree ? Math.min(now, tally.freeSince) : Number.POSITIVE_INFINITY
  }

  private leased(process: Process, run: Storage.Run, lease: Storage.Lease, isClaim: boolean): void {
    const { now } = this.machine.timeline
    const one = this.watched(run.id)
    if (lease.token <= one.token) this.fault(`run ${run.id} was leased with token ${lease.token} after ${one.token}`)
    if (!one.isFree && one.leaseUntil > now) this.fault(`run ${run.id} was leased to ${process.name} under a lease`)
    const since = Math.max(one.available, one.isFree ? one.freedAt : one.leaseUntil)
    if (isClaim) {
      this.measures.wakeUps.push(now - since)
      if (this.options.isChecked && run.queue === undefined) this.checkWakeUp(run, since)
    }
    const before = one.owner && this.tallies.get(one.owner)
    if (before !== undefined) {
      before.leased.delete(run.id)
      if (before.crashedAt < now && one.owner !== process) this.measures.recoveries.push(now - before.crashedAt)
    }
    one.token = lease.token
    one.owner = process
    one.isFree = false
    one.leaseUntil = run.leaseUntil ?? now
    one.available = one.leaseUntil
    const tally = this.tallies.get(process)
    if (tally === undefined) return
    tally.leased.add(run.id)
  }

  /** A worker that was in order and had a place all the time must have looked. */
  private checkWakeUp(run: Storage.Run, since: number): void {
    const { now } = this.machine.timeline
    if (now - since <= this.options.bound) return
    const most = this.options.bound + 4 * this.longestCall
    for (const [process, tally] of this.tallies) {
      if (tally.isOut) continue
      const from = Math.max(since, tally.freeSince, tally.excluded.get(run.id) ?? 0)
      const until = Math.min(now, tally.askedAt ?? now)
      if (until - from <= most || !tally.versions.has(`${run.workflow} ${run.version}`) || !tally.owns(run.id)) continue
      this.fault(
        `run ${run.id} could be resumed since ${since}, and ${process.name} had places for ${Math.round(until - from)} ms`
      )
      return
    }
  }

  private appended({ run: id, token }: Storage.Lease, entries: ReadonlyArray<Storage.Entry>): void {
    const one = this.watched(id)
    if (token !== one.token) this.fault(`run ${id} was written with token ${token} beside ${one.token}`)
    for (const { kind, step } of entries) {
      if (kind === "AttemptStarted" && one.completed.has(step))
        this.fault(`step ${step} of run ${id} began after its end`)
      if (kind !== "StepCompleted") continue
      if (one.completed.has(step)) this.fault(`step ${step} of run ${id} ended twice`)
      one.completed.add(step)
    }
  }

  private watched(id: string): Watched {
    const known = this.runs.get(id)
    if (known !== undefined) return known
    const one: Watched = {
      id,
      available: 0,
      isFree: true,
      freedAt: 0,
      leaseUntil: 0,
      token: 0,
      owner: undefined,
      completed: new Set(),
      isEnded: false
    }
    this.runs.set(id, one)
    this.open++
    return one
  }

  changed(id: string): void {
    this.refresh(this.watched(id))
  }

  private refresh(one: Watched): void {
    const { now } = this.machine.timeline
    const row = this.find(one.id)
    if (row === undefined) return
    const isLeased = row.owner !== undefined && (row.leaseUntil ?? 0) > now
    if (!isLeased && one.owner !== undefined && row.owner === undefined) {
      const tally = this.tallies.get(one.owner)
      tally?.leased.delete(one.id)
      if (tally === undefined || tally.crashedAt === Number.POSITIVE_INFINITY) one.owner = undefined
    }
    if (row.outcome !== undefined) {
      if (!one.isEnded) {
        this.open--
        if (row.parent === undefined) this.ended++
      }
      one.isEnded = true
      one.available = Number.POSITIVE_INFINITY
      return
    }
    if (isLeased || row.hold !== undefined) {
      one.isFree = false
      one.leaseUntil = isLeased ? (row.leaseUntil ?? now) : Number.POSITIVE_INFINITY
      one.available = one.leaseUntil
      return
    }
    if (!one.isFree) one.freedAt = Math.min(now, one.leaseUntil)
    one.isFree = true
    one.available = Math.max(row.dueAt, one.freedAt)
  }
}

/** What a worker asks when it looks for runs. */
const looks: ReadonlySet<string> = new Set(["claimDue", "backlog", "now", "endPlacedLeases"])

/** Short, and the same in each simulation of a seed. */
const summaryOf = (args: ReadonlyArray<unknown>, exit: Exit.Exit<unknown, unknown>): string =>
  `${JSON.stringify(args)} ${Exit.isSuccess(exit) ? JSON.stringify(exit.value) : `failed ${exit.cause.toString().split("\n")[0]}`}`
