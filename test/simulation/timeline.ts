/** Something that happens at a time of the simulation. */
export interface Event {
  readonly at: number
  readonly order: number
  run: (() => void) | undefined
}

const isBefore = (a: Event, b: Event): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)

/** The one time of a simulation, in milliseconds, and what is to happen. What is due at the same time keeps its order. */
export class Timeline {
  now: number
  private order = 0
  private readonly heap: Array<Event> = []

  constructor(now: number) {
    this.now = now
  }

  at(at: number, run: () => void): Event {
    const event = { at: Math.max(at, this.now), order: ++this.order, run }
    const { heap } = this
    let i = heap.length
    heap.push(event)
    while (i > 0) {
      const parent = (i - 1) >> 1
      const above = heap[parent] as Event
      if (isBefore(above, event)) break
      heap[i] = above
      i = parent
    }
    heap[i] = event
    return event
  }

  after(millis: number, run: () => void): Event {
    return this.at(this.now + millis, run)
  }

  /** Moves the time to the next event, and returns what it does. */
  next(): (() => void) | undefined {
    for (let event = this.pop(); event !== undefined; event = this.pop()) {
      if (event.run === undefined) continue
      this.now = event.at
      return event.run
    }
    return undefined
  }

  private pop(): Event | undefined {
    const { heap } = this
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Event, heap[child] as Event)) child++
      if (isBefore(last, heap[child] as Event)) break
      heap[i] = heap[child] as Event
      i = child
    }
    heap[i] = last
    return first
  }
}

export const cancel = (event: Event): void => {
  event.run = undefined
}

/** Seeded choices. The same seed makes the same choices. */
export class Dice {
  private state: number

  constructor(seed: number) {
    this.state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) >>> 0
  }

  /** From 0 to below 1. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** A whole number of these, both included. */
  whole(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1))
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  of<A>(choices: ReadonlyArray<A>): A {
    return choices[this.whole(0, choices.length - 1)] as A
  }

  /** Exponentially distributed. */
  around(mean: number): number {
    return -mean * Math.log(1 - this.next())
  }
}
