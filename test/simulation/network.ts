import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Storage } from "effect-recovery"
import { changesOf } from "../../src/storage/internal/changes.js"
import type { Machine, Process } from "./process.js"
import type { Server } from "./server.js"
import type { Dice } from "./timeline.js"

/** How a process reaches the store. Times are in milliseconds. */
export interface Link {
  /** One way, at least. */
  readonly delay: number
  /** What is added to it, on average. */
  readonly jitter: number
  /** How often a call, or an answer, never arrives. */
  readonly loss: number
  /** When a call without an answer fails. */
  readonly timeout: number
  /** Calls at once; others wait in the process. */
  readonly pool: number
}

export interface Watcher {
  /** An operation has happened in the store. */
  readonly happened: (
    process: Process,
    kind: string,
    args: ReadonlyArray<unknown>,
    exit: Exit.Exit<unknown, unknown>
  ) => void
  /** A process has asked the store for something. */
  readonly asked: (process: Process, kind: string) => void
  /** A process got an answer, or a failure in its place. */
  readonly answered: (
    process: Process,
    kind: string,
    args: ReadonlyArray<unknown>,
    exit: Exit.Exit<unknown, unknown>,
    sent: number
  ) => void
}

/** Lines that wait together are written by one statement, as over any SqlClient. */
const grouped: ReadonlySet<string> = new Set(["append", "enqueue", "finish"])

/** What goes over the connection that keeps leases, and waits for no place in the pool. */
const direct: ReadonlySet<string> = new Set(["renew", "controls", "release", "renewLock", "unlock"])

/** Between two batches of news of one process, as on Postgres. */
const newsPause = 50

interface Call {
  readonly kind: string
  readonly args: ReadonlyArray<unknown>
  readonly operation: Effect.Effect<unknown, unknown>
  readonly sent: number
  readonly settle: (exit: Exit.Exit<unknown, unknown>) => void
}

/** The connections of one process to the store. */
export class Connection {
  readonly store: Storage.Store
  /** No message passes until then. */
  cutUntil = 0
  private readonly machine: Machine
  private readonly server: Server
  private readonly dice: Dice
  private readonly process: Process
  private readonly link: Link
  private readonly watcher: Watcher
  private readonly below: Storage.Store
  private readonly listeners = new Set<(change: Storage.Change) => void>()
  private readonly groups = new Map<string, Array<Call>>()
  private readonly pooled: Array<ReadonlyArray<Call>> = []
  private inUse = 0
  private news = new Map<string, boolean>()
  private isTelling = false
  private readonly others: () => Iterable<Connection>

  constructor(
    machine: Machine,
    server: Server,
    dice: Dice,
    process: Process,
    link: Link,
    watcher: Watcher,
    below: Storage.Store,
    others: (() => Iterable<Connection>) | undefined
  ) {
    this.machine = machine
    this.server = server
    this.dice = dice
    this.process = process
    this.link = link
    this.watcher = watcher
    this.below = below
    this.others = others ?? (() => [])
    const changes = others === undefined ? Stream.empty : changesOf(this.listeners)
    this.store = this.over(below, changes)
  }

  /** The store as this process sees it. */
  private over(below: Storage.Store, changes: Storage.Store["changes"]): Storage.Store {
    const wrapped = Object.entries(below).map(([kind, value]: [string, unknown]) => {
      if (kind === "changes") return [kind, changes]
      if (Effect.isEffect(value)) return [kind, this.call(kind, [], value as Effect.Effect<unknown, unknown>)]
      if (typeof value !== "function") return [kind, value]
      return [kind, (...args: ReadonlyArray<unknown>) => this.call(kind, args, value(...args))]
    })
    // Each operation has the arguments and the answer of the one that it calls.
    return Object.fromEntries(wrapped) as Storage.Store
  }

  private call(
    kind: string,
    args: ReadonlyArray<unknown>,
    operation: Effect.Effect<unknown, unknown>
  ): Effect.Effect<unknown, unknown> {
    return Effect.async((resume) => {
      this.watcher.asked(this.process, kind)
      const call: Call = {
        kind,
        args,
        operation,
        sent: this.machine.timeline.now,
        settle: (exit) => {
          this.watcher.answered(this.process, kind, args, exit, call.sent)
          if (Exit.isSuccess(exit)) this.noteNews(kind, args, exit.value)
          resume(exit)
        }
      }
      const group = grouped.has(kind) ? this.groups.get(kind) : undefined
      if (group !== undefined) group.push(call)
      else {
        if (grouped.has(kind)) this.groups.set(kind, [])
        this.send([call])
      }
    })
  }

  private send(calls: ReadonlyArray<Call>): void {
    const [{ kind }] = calls as readonly [Call]
    if (direct.has(kind)) this.transmit(calls, () => {})
    else if (this.inUse >= this.link.pool) this.pooled.push(calls)
    else {
      this.inUse++
      this.transmit(calls, () => {
        this.inUse--
        const next = this.pooled.shift()
        if (next !== undefined) this.send(next)
      })
    }
  }

  private transmit(calls: ReadonlyArray<Call>, free: () => void): void {
    const { link, machine, process, server } = this
    const [{ kind }] = calls as readonly [Call]
    let isSettled = false
    const settle = (exits: ReadonlyArray<Exit.Exit<unknown, unknown>>) => {
      if (isSettled) return
      isSettled = true
      free()
      if (grouped.has(kind)) this.nextGroup(kind)
      for (const [i, call] of calls.entries()) call.settle(exits[i] as Exit.Exit<unknown, unknown>)
    }
    const lost = () => {
      const error = new Storage.StorageError({ reason: "Unavailable", operation: kind })
      settle(calls.map(() => Exit.fail(error)))
    }
    const timeout = machine.timeline.after(link.timeout, () => process.enter(lost))
    let rows = calls.length
    this.pass(() =>
      server.submit({
        kind,
        sent: machine.timeline.now,
        run: () => {
          const exits = calls.map(({ args, operation }) => {
            const exit = server.perform(operation)
            this.watcher.happened(process, kind, args, exit)
            return exit
          })
          rows = rowsOf(calls, exits)
          return exits
        },
        rows: () => rows,
        answer: (exits) =>
          this.pass(() => {
            timeout.run = undefined
            process.enter(() => settle(exits))
          })
      })
    )
  }

  /** A message on its way. While the link is cut it is lost, or arrives late. */
  private pass(arrive: () => void): void {
    const { dice, link, machine } = this
    if (link.loss > 0 && dice.chance(link.loss)) return
    const isCut = machine.timeline.now < this.cutUntil
    if (isCut && dice.chance(0.5)) return
    const from = isCut ? this.cutUntil : machine.timeline.now
    machine.timeline.at(from + link.delay + dice.around(link.jitter), arrive)
  }

  private nextGroup(kind: string): void {
    const waiting = this.groups.get(kind) ?? []
    if (waiting.length === 0) return void this.groups.delete(kind)
    this.groups.set(kind, [])
    this.send(waiting)
  }

  // ---- news

  /** As on Postgres: what concerns no other process is not told. */
  private noteNews(kind: string, args: ReadonlyArray<unknown>, value: unknown): void {
    const change = newsOf(kind, args, value, this.machine.timeline.now)
    if (change === undefined) return
    this.addNews(change)
    const parent = kind === "finish" ? this.parentOf((args[0] as Storage.Lease).run) : undefined
    if (parent !== undefined) this.addNews({ run: parent, isDue: true })
    if (!this.isTelling) this.tell()
  }

  private parentOf(run: string): string | undefined {
    const found = this.server.perform(this.below.find(run))
    return Exit.isSuccess(found) ? Option.getOrUndefined(found.value)?.parent?.run : undefined
  }

  private addNews({ isDue, run }: Storage.Change): void {
    this.news.set(run, isDue || this.news.get(run) === true)
  }

  private tell(): void {
    const { news } = this
    this.isTelling = news.size > 0
    if (news.size === 0) return
    this.news = new Map()
    const hear = () => {
      for (const other of this.others()) other.hear(news, this)
    }
    this.pass(() =>
      this.server.submit({
        kind: "notify",
        sent: this.machine.timeline.now,
        run: () => [],
        rows: () => news.size,
        answer: hear
      })
    )
    this.machine.timeline.after(newsPause, () => this.process.enter(() => this.tell()))
  }

  /** The news does not say which run has changed. */
  hearAny(): void {
    this.hear(new Map([["", true]]), undefined)
  }

  private hear(news: ReadonlyMap<string, boolean>, from: Connection | undefined): void {
    if (from === this || this.process.isDead) return
    this.pass(() =>
      this.process.enter(() => {
        for (const [run, isDue] of news) for (const listener of [...this.listeners]) listener({ run, isDue })
      })
    )
  }
}

const rowsOf = (calls: ReadonlyArray<Call>, exits: ReadonlyArray<Exit.Exit<unknown, unknown>>): number => {
  const [{ args, kind }] = calls as readonly [Call]
  if (kind === "append") return calls.reduce((sum, one) => sum + lengthOf(one.args[1]), 0)
  if (kind === "renew" || kind === "controls") return lengthOf(args[0])
  const [exit] = exits
  return exit !== undefined && Exit.isSuccess(exit) && Array.isArray(exit.value) ? exit.value.length : calls.length
}

const lengthOf = (value: unknown): number => (Array.isArray(value) ? value.length : 1)

/** The run that an operation has changed, and whether it may be due by that. */
const newsOf = (
  kind: string,
  args: ReadonlyArray<unknown>,
  value: unknown,
  now: number
): Storage.Change | undefined => {
  const [first, second] = args
  switch (kind) {
    case "signal":
      return value === "Sent" ? { run: String(first), isDue: true } : undefined
    case "cancel":
      return value === "Requested" ? { run: String(first), isDue: true } : undefined
    case "hold":
    case "terminate":
      return { run: String(first), isDue: false }
    case "releaseHold":
      return value === true ? { run: String(first), isDue: true } : undefined
    case "enqueue": {
      const { delay = 0, id } = first as Storage.EnqueueRequest
      return (value as Storage.Enqueued)._tag !== "Existing" && delay <= 0 ? { run: id, isDue: true } : undefined
    }
    case "finish":
      return { run: (first as Storage.Lease).run, isDue: false }
    case "suspend": {
      const { run } = first as Storage.Lease
      return (second as Storage.Suspension).dueAt <= now ? { run, isDue: true } : undefined
    }
    case "release":
      return { run: typeof second === "string" ? second : "", isDue: true }
    default:
      return undefined
  }
}
