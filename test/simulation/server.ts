import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type { Machine } from "./process.js"
import { SimulatedClock } from "./process.js"
import type { Dice } from "./timeline.js"

/** What a statement costs, in milliseconds: of one core of the server for itself and for each of its rows, and of waiting for the disk. */
export interface Cost {
  readonly base: number
  readonly row: number
  readonly disk: number
}

export interface ServerOptions {
  readonly cores: number
  readonly costs: Readonly<Record<string, Cost>>
  /** The server takes this many times as long, now. */
  readonly slowness?: () => number
  /** The cores and the disk take a random time around the cost, and not exactly that. */
  readonly isRandom: boolean
}

/** A statement that waits for a core, or has one. It happens at once when it has one, and is answered later. */
export interface Statement {
  readonly kind: string
  readonly sent: number
  /** Operations of the store that share the statement, with their numbers of rows. */
  readonly run: () => ReadonlyArray<Exit.Exit<unknown, unknown>>
  readonly rows: () => number
  readonly answer: (exits: ReadonlyArray<Exit.Exit<unknown, unknown>>) => void
}

/** What a kind of statement took of the server. */
export interface Load {
  count: number
  /** Milliseconds of a core. */
  busy: number
  /** Milliseconds for which statements waited for a core. */
  waited: number
}

const usual: Cost = { base: 0.2, row: 0, disk: 0 }

/** A database server as a queue before a number of cores. */
export class Server {
  readonly clock: SimulatedClock
  readonly loads = new Map<string, Load>()
  longestWait = 0
  private busy = 0
  private readonly waiting: Array<Statement> = []
  private first = 0
  private readonly machine: Machine
  private readonly options: ServerOptions
  private readonly dice: Dice

  constructor(machine: Machine, options: ServerOptions, dice: Dice) {
    this.machine = machine
    this.options = options
    this.dice = dice
    this.clock = new SimulatedClock(machine)
  }

  /** Runs an operation of the store, whose clock is the server's. */
  readonly perform = <A, E>(operation: Effect.Effect<A, E>): Exit.Exit<A, E> =>
    Effect.runSyncExit(Effect.withClock(operation, this.clock))

  get length(): number {
    return this.waiting.length - this.first
  }

  submit(statement: Statement): void {
    if (this.busy < this.options.cores) this.begin(statement)
    else this.waiting.push(statement)
  }

  private begin(statement: Statement): void {
    const { kind, sent } = statement
    const { now } = this.machine.timeline
    const { costs, isRandom, slowness } = this.options
    const exits = statement.run()
    const { base, disk, row } = costs[kind] ?? usual
    const mean = (base + row * statement.rows()) * (slowness?.() ?? 1)
    const time = isRandom ? mean * (0.5 + this.dice.around(0.5)) : mean
    const load = this.loads.get(kind) ?? { count: 0, busy: 0, waited: 0 }
    load.count++
    load.busy += time
    load.waited += now - sent
    this.longestWait = Math.max(this.longestWait, now - sent)
    this.loads.set(kind, load)
    this.busy++
    this.machine.timeline.after(time, () => {
      this.busy--
      const next = this.waiting[this.first]
      if (next !== undefined) {
        this.first++
        if (this.first > 1_024 && this.first * 2 > this.waiting.length) {
          this.waiting.splice(0, this.first)
          this.first = 0
        }
        this.begin(next)
      }
      // The commit waits for the disk, which no other statement waits for.
      const commit = disk === 0 ? 0 : isRandom ? this.dice.around(disk) : disk
      if (commit === 0) statement.answer(exits)
      else this.machine.timeline.after(commit, () => statement.answer(exits))
    })
  }
}
