import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import type * as FiberStatus from "effect/FiberStatus"
import * as HashSet from "effect/HashSet"
import type * as Option from "effect/Option"
import * as RuntimeFlags from "effect/RuntimeFlags"
import * as Supervisor from "effect/Supervisor"
import * as FiberTree from "./fiberTree.js"

type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

interface Live {
  readonly fiber: AnyFiber
  readonly parent: number | undefined
  /** `Effect.raceAll` and `Effect.all` fork their branches with a changed interruptibility. */
  readonly isBranch: boolean
}

/**
 * What a fiber blocks on while the library makes it wait: for its turn, for a
 * signal, or for the end of a replay. It can only continue through this execution.
 */
export const resting: FiberId.FiberId = FiberId.unsafeMake()

/** Never ends, and is interruptible everywhere: a fiber that waits for the end of a replay ends with it. */
export const never: Effect.Effect<never> = Effect.interruptible(Effect.async<never>(() => {}, resting))

const numberOf = (fiber: AnyFiber): number => fiber.id().id

/**
 * The live fibers of a body, with who forked them. They decide whether the
 * body can continue by itself: a promise, a plain sleep or a semaphore outside of
 * steps counts as work, without a list of the kinds of work.
 */
export class BodyFibers extends Supervisor.AbstractSupervisor<void> {
  readonly value = Effect.void
  /** The body's own fiber and the fibers that have used a step or a wait. */
  readonly users = new Set<number>()
  readonly #live = new Map<number, Live>()
  /** Called whenever a fiber of the body stops running, until the next change. */
  onPause: (() => void) | undefined

  /** Only one fiber lives: it is the one that asks. */
  get isAlone(): boolean {
    return this.#live.size <= 1
  }

  #add(fiber: AnyFiber, parent?: AnyFiber, isBranch = false): void {
    this.#live.set(numberOf(fiber), { fiber, parent: parent && numberOf(parent), isBranch })
  }

  /** The body's own fiber, or one that uses a step or a wait. Code outside of the body may have started it with the run's context. */
  addUser(fiber: AnyFiber): void {
    const id = numberOf(fiber)
    if (this.users.has(id)) return
    this.users.add(id)
    if (this.#live.has(id)) return
    this.#add(fiber)
    fiber.addObserver((exit) => this.onEnd(exit, fiber))
  }

  override onStart<A, E, R>(
    _context: Context.Context<R>,
    effect: Effect.Effect<A, E, R>,
    parent: Option.Option<AnyFiber>,
    fiber: Fiber.RuntimeFiber<A, E>
  ): void {
    // The name of the operation is no part of Effect's public types; without it the fiber counts as working.
    const isBranch = (effect as { readonly _op?: unknown })._op === "UpdateRuntimeFlags"
    this.#add(fiber, parent._tag === "Some" ? parent.value : undefined, isBranch)
  }

  override onEnd<A, E>(_exit: Exit.Exit<A, E>, fiber: Fiber.RuntimeFiber<A, E>): void {
    const id = numberOf(fiber)
    this.#live.delete(id)
    this.users.delete(id)
    this.onPause?.()
  }

  override onSuspend(): void {
    this.onPause?.()
  }

  /** The live fibers that were forked after the mark and have used a step or a wait. */
  usersForkedAfter(mark: FiberTree.Use): ReadonlyArray<AnyFiber> {
    return [...this.users].flatMap((id) => {
      const fiber = this.#live.get(id)?.fiber
      return fiber !== undefined && FiberTree.isForkedAfter(fiber, mark) ? [fiber] : []
    })
  }

  /**
   * Whether no fiber can continue by itself: each one rests, or waits for fibers
   * that do. `restingSince` is the number of the first fiber forked after a fiber began
   * to rest; undefined for a fiber that does not rest.
   */
  areIdle(restingSince: (fiber: number) => number | undefined): Effect.Effect<boolean> {
    return Effect.suspend(() => this.#areIdle([...this.users], new Set(), restingSince))
  }

  #areIdle(
    toVisit: ReadonlyArray<number>,
    visited: Set<number>,
    restingSince: (fiber: number) => number | undefined
  ): Effect.Effect<boolean> {
    const self = this
    return Effect.gen(function* () {
      const queue = [...toVisit]
      for (let id = queue.pop(); id !== undefined; id = queue.pop()) {
        const node = self.#live.get(id)
        if (node === undefined || visited.has(id)) continue
        visited.add(id)
        const since = restingSince(id)
        const status = since === undefined ? yield* node.fiber.status : undefined
        if (status?._tag === "Done") continue
        const blockers = status === undefined ? [] : self.#blockersOf(id, node, status)
        if (blockers === undefined) return false
        const children = (yield* node.fiber.children).map(numberOf)
        queue.push(...blockers, ...children.filter((child) => since === undefined || child < since))
      }
      return true
    })
  }

  /** The fibers that this one waits for. Undefined if it works, or waits for something outside of the body. */
  #blockersOf(id: number, { parent }: Live, status: FiberStatus.FiberStatus): ReadonlyArray<number> | undefined {
    if (status._tag !== "Suspended") return undefined
    const { blockingOn, runtimeFlags } = status
    // A fiber that is about to run blocks on nothing.
    if (blockingOn === null || blockingOn === undefined) return undefined
    if (blockingOn === resting) return []
    const ids = HashSet.toValues(FiberId.ids(blockingOn))
    if (ids.length > 0) return ids.every((one) => one !== id && this.#live.has(one)) ? ids : undefined
    const branches = this.#forkedBy(id)
    if (branches.length > 0) return branches
    // `Effect.all` waits in an uninterruptible fiber beside its branches.
    const siblings = RuntimeFlags.interruptible(runtimeFlags) ? [] : this.#forkedBy(parent).filter((one) => one > id)
    return siblings.length > 0 ? siblings : undefined
  }

  #forkedBy(id: number | undefined): ReadonlyArray<number> {
    const found: Array<number> = []
    if (id === undefined) return found
    for (const [child, { isBranch, parent }] of this.#live) if (parent === id && isBranch) found.push(child)
    return found
  }
}
