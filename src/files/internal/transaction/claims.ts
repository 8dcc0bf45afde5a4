import type { Lifetime } from "../../../transaction/Transactor.js"
import { meets } from "./undo.js"

/**
 * What each part of a transaction has seen or changed: until it is over nobody
 * beside it may have it, since its failure would undo what that one did, too.
 */
export class Claims {
  private readonly all = new Map<Lifetime, Set<string>>()

  /** Claims a path for a part, or answers with whom to wait for. */
  take(part: Lifetime, at: string): Lifetime | undefined {
    this.inherit()
    for (const [owner, paths] of this.all) {
      if (part.isWithin(owner)) continue
      for (const path of paths) if (meets(path, at)) return owner
    }
    this.of(part).add(at)
    return undefined
  }

  /** What a part has done belongs to the one around it, once it is over. */
  private inherit(): void {
    for (const [owner, paths] of this.all) {
      if (!owner.isOver) continue
      this.all.delete(owner)
      if (owner.active === undefined) continue
      const heir = this.of(owner.active)
      for (const path of paths) heir.add(path)
    }
  }

  private of(part: Lifetime): Set<string> {
    const paths = this.all.get(part) ?? new Set()
    this.all.set(part, paths)
    return paths
  }
}
