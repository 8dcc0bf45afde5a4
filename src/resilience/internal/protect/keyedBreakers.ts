import type { Breaker } from "./breaker.js"

/** Evictable breakers are looked for among so many of the least recently used ones, so that eviction takes bounded time. */
const looks = 200
/** Breakers that were not evictable may be so later: failures leave a time window. */
const looksAgain = 32

/**
 * The breakers of a keyed group. Beyond `maxKeys` it evicts the least recently
 * used one, but breakers that equal a new one go first.
 */
export class KeyedBreakers {
  // A Map keeps insertion order, and a used key is inserted again: the least recently used key is first.
  private readonly used = new Map<string, Breaker>()
  /** Those that were not evictable when they were looked at, and were not used since. All were used before those in `used`. */
  private readonly kept = new Map<string, Breaker>()

  private readonly maxKeys: number
  private readonly make: (key: string) => Breaker

  constructor(maxKeys: number, make: (key: string) => Breaker) {
    this.maxKeys = maxKeys
    this.make = make
  }

  /** The breaker of a key, which counts as used. */
  readonly get = (key: string): Breaker => {
    let found = this.used.get(key)
    if (found !== undefined) this.used.delete(key)
    else {
      found = this.kept.get(key)
      if (found !== undefined) this.kept.delete(key)
      else {
        if (this.used.size + this.kept.size >= this.maxKeys) this.evictOne()
        found = this.make(key)
      }
    }
    this.used.set(key, found)
    return found
  }

  /** All of them, the least recently used one first. */
  get entries(): ReadonlyArray<readonly [string, Breaker]> {
    return [...this.kept, ...this.used]
  }

  private evictOne(): void {
    let left = looksAgain
    for (const [key, breaker] of this.kept) {
      if (left-- === 0) break
      if (breaker.isEvictable) {
        this.evict(this.kept, key, breaker)
        return
      }
    }
    left = looks
    for (const [key, breaker] of this.used) {
      if (left-- === 0) break
      if (breaker.isEvictable) {
        this.evict(this.used, key, breaker)
        return
      }
      // Each use of a key is paid for by one look at most, since it is not looked at here again.
      this.used.delete(key)
      this.kept.set(key, breaker)
    }
    const breakers = this.kept.size > 0 ? this.kept : this.used
    const [oldest] = breakers
    if (oldest !== undefined) this.evict(breakers, ...oldest)
  }

  private evict(breakers: Map<string, Breaker>, key: string, breaker: Breaker): void {
    breakers.delete(key)
    breaker.evicted()
  }
}
