import type { Placement } from "../../src/durable/internal/worker/placement.js"
import { shardOf } from "../../src/storage/shards.js"
import type { Process } from "./process.js"
import { cancel, type Dice, type Event, type Timeline } from "./timeline.js"

export interface PlacingOptions {
  readonly shards: number
  /** The most that a process learns later than another who owns what: meanwhile two own one shard, or none does. */
  readonly notice: number
  /** From the death of a process until the cluster gives its shards away. */
  readonly death: number
}

/** A process as the cluster sees it. */
interface Runner {
  readonly process: Process
  /** What it believes to own. */
  owned: ReadonlyArray<number>
  readonly listeners: Set<() => void>
  /** Looks for runs at once. */
  look: () => void
}

/** A cluster that gives each runner its part of the shards, and tells all of them late. */
export class Placing {
  private readonly runners: Array<Runner> = []
  private pending: Array<Event> = []
  private readonly timeline: Timeline
  private readonly dice: Dice
  private readonly options: PlacingOptions
  private readonly onChange: (process: Process) => void

  constructor(timeline: Timeline, dice: Dice, options: PlacingOptions, onChange: (process: Process) => void) {
    this.timeline = timeline
    this.dice = dice
    this.options = options
    this.onChange = onChange
  }

  join(process: Process): Runner & { readonly placement: Placement } {
    const listeners = new Set<() => void>()
    const placement: Placement = {
      shards: this.options.shards,
      owned: () => runner.owned,
      onChange: (listener) => {
        listeners.add(listener)
        return () => void listeners.delete(listener)
      },
      hint: (run) => this.hint(run)
    }
    const runner: Runner & { readonly placement: Placement } = {
      process,
      owned: [],
      listeners,
      look: () => {},
      placement
    }
    this.runners.push(runner)
    this.assign()
    return runner
  }

  leave(process: Process): void {
    this.timeline.after(process.isDead ? this.options.death : 0, () => {
      const index = this.runners.findIndex((runner) => runner.process === process)
      if (index >= 0) this.runners.splice(index, 1)
      this.assign()
    })
  }

  owns(process: Process, run: string): boolean {
    const owned = this.runners.find((runner) => runner.process === process)?.owned ?? []
    return owned.includes(shardOf(run, this.options.shards))
  }

  /** Each runner hears of its part at a time of its own. */
  private assign(): void {
    for (const event of this.pending) cancel(event)
    this.pending = this.runners.map((runner, place) =>
      this.timeline.after(this.dice.whole(0, this.options.notice), () => {
        const all = Array.from({ length: this.options.shards }, (_, i) => i + 1)
        runner.owned = all.filter((shard) => shard % this.runners.length === place)
        this.onChange(runner.process)
        runner.process.enter(() => {
          for (const listener of runner.listeners) listener()
        })
      })
    )
  }

  private hint(run: string): void {
    const shard = shardOf(run, this.options.shards)
    for (const { look, owned, process } of this.runners) {
      if (owned.includes(shard)) this.timeline.after(1, () => process.enter(look))
    }
  }
}
