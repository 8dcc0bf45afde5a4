import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Lock } from "effect-recovery"
import { FileLock, FileTransaction } from "effect-recovery/files"
import { type Calls, CurrentCalls, nodeCalls } from "../../src/files/internal/system/calls.js"
import { lengthOf, seedOf } from "../support/campaigns.js"
import { seeded } from "../support/children.js"
import { type CrashPoint, crashingCalls } from "../support/crashingCalls.js"
import { temporaryFolder } from "../support/files.js"
import { treeOf } from "../support/tree.js"

/** Random transactions; a certain one with `RECOVERY_SEED=17 RECOVERY_FILE_RUNS=1`. */
const seeds = lengthOf("FILE_RUNS")
const first = seedOf(1)

/** Few paths, so that changes often concern the same ones. */
const places = ["a", "a", "b", "d", "d", "d/a", "d/a", "d/e", "d/e/a", "e", "e/a", "link"]

const prepare = (root: string): void => {
  fs.mkdirSync(path.join(root, "d/e"), { recursive: true })
  for (const [name, mode] of [
    ["a", 0o640],
    ["d/a", 0o600],
    ["d/e/a", 0o755]
  ] as const) {
    fs.writeFileSync(path.join(root, name), `old ${name}`)
    fs.chmodSync(path.join(root, name), mode)
  }
  fs.symlinkSync("d/a", path.join(root, "link"))
}

/** Direct changes of a protected path. */
const mutations = {
  "writes in place": (at: string) => fs.writeFileSync(at, "in place"),
  "changes permissions of": (at: string) => fs.chmodSync(at, 0o700),
  deletes: (at: string) => fs.rmSync(at, { recursive: true }),
  "puts a file in the place of": (at: string) => {
    fs.rmSync(at, { recursive: true, force: true })
    fs.writeFileSync(at, "another one")
  },
  "puts a folder in the place of": (at: string) => {
    fs.rmSync(at, { recursive: true, force: true })
    fs.mkdirSync(at)
    fs.writeFileSync(path.join(at, "inside"), "another one")
  }
}
type Mutation = keyof typeof mutations

type Step =
  | { readonly kind: "write" | "remove" | "makeDirectory"; readonly at: string; readonly text: string }
  | { readonly kind: "move"; readonly at: string; readonly to: string }
  | { readonly kind: "protect"; readonly at: string; readonly mutation: Mutation }
  /** A nested transaction whose failure is ignored. */
  | { readonly kind: "part"; readonly steps: ReadonlyArray<Step>; readonly fails: boolean }

const generate = (random: (below: number) => number, depth = 0): ReadonlyArray<Step> => {
  const pick = <A>(of: ReadonlyArray<A>): A => of[random(of.length)] as A
  let last = pick(places)
  // Half of the steps repeat the path of the step before.
  const place = () => {
    if (random(2) === 0) last = pick(places)
    return last
  }
  return Array.from({ length: (depth === 0 ? 3 : 1) + random(depth === 0 ? 8 : 4) }, (): Step => {
    const at = place()
    const kinds = ["write", "write", "remove", "move", "move", "makeDirectory", "protect", "part"] as const
    const kind = pick(kinds.slice(0, depth < 2 ? 8 : 7))
    switch (kind) {
      case "move":
        return random(2) === 0 ? { kind, at, to: pick(places) } : { kind, at: pick(places), to: at }
      case "protect":
        return { kind, at, mutation: pick(Object.keys(mutations) as Array<Mutation>) }
      case "part":
        return { kind, steps: generate(random, depth + 1), fails: random(2) === 0 }
      default:
        return { kind, at, text: `new ${random(1_000_000)}` }
    }
  })
}

/** The steps without failing parts. */
const kept = (steps: ReadonlyArray<Step>): ReadonlyArray<Step> =>
  steps
    .filter((step) => step.kind !== "part" || !step.fails)
    .map((step) => (step.kind === "part" ? { ...step, steps: kept(step.steps) } : step))

type Needs = FileTransaction.FileTransaction | Lock.Lock

const change = (
  step: Exclude<Step, { readonly kind: "part" }>
): Effect.Effect<unknown, unknown, FileTransaction.FileTransaction> => {
  switch (step.kind) {
    case "write":
      return FileTransaction.write(step.at, step.text)
    case "remove":
      return FileTransaction.remove(step.at)
    case "makeDirectory":
      return FileTransaction.makeDirectory(step.at)
    case "move":
      return FileTransaction.move(step.at, step.to)
    case "protect":
      // The path may be missing or a folder; the program ignores that failure.
      return Effect.map(FileTransaction.protect(step.at), (at) => {
        try {
          mutations[step.mutation](at)
        } catch {}
      })
  }
}

/** The root as other programs see it: without the journal and its hard links. */
const visible = (root: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(treeOf(root))
      .filter(([name]) => !name.startsWith(".file-transaction"))
      .map(([name, what]) => [name, what.replace(/^(\d+) \d+ /, "$1 ")])
  )

/** Many steps fail, since their path holds something else. A failing step changes nothing, except that makeDirectory may leave parents. */
const performStep = (root: string, step: Step): Effect.Effect<void, never, Needs> => {
  if (step.kind === "part") {
    const inside = Effect.zipRight(perform(root, step.steps), step.fails ? Effect.fail("of the part") : Effect.void)
    return Effect.ignore(FileTransaction.run(inside, root, durability))
  }
  return Effect.suspend(() => {
    const untouched = visible(root)
    return Effect.catchAll(Effect.asVoid(change(step)), () =>
      Effect.sync(() => {
        if (step.kind !== "makeDirectory") assert.deepStrictEqual(visible(root), untouched, JSON.stringify(step))
      })
    )
  })
}

const perform = (root: string, steps: ReadonlyArray<Step>): Effect.Effect<void, never, Needs> =>
  Effect.forEach(steps, (step) => performStep(root, step), { discard: true })

const durability = { durability: "process-crash" } as const

const transaction = (root: string, steps: ReadonlyArray<Step>, ending: Effect.Effect<unknown, unknown> = Effect.void) =>
  FileTransaction.run(Effect.zipRight(perform(root, steps), ending), root, durability)

/** As in a process of its own: with its own locks, since the operating system releases those of a dead process. */
const inProcess = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.scoped(Effect.flatMap(temporaryFolder, (folder) => Effect.provide(self, FileLock.layer({ folder }))))

type Program = Effect.Effect<unknown, unknown, Lock.Lock>

/** Runs a program in a simulated process that dies at the point. Returns the changing calls that it made. */
const until = (point: CrashPoint | undefined, program: Program) =>
  Effect.async<ReadonlyArray<string>>((resume) => {
    // A dead process never continues, and the test no longer waits for it.
    const crash = Effect.zipRight(
      Effect.sync(() => resume(Effect.succeed(made))),
      Effect.never
    )
    const { calls, made } = crashingCalls(point, crash)
    const run = program.pipe(inProcess, Effect.exit, Effect.provideService(CurrentCalls, calls))
    Effect.runFork(Effect.map(run, () => resume(Effect.succeed(made))))
  })

/** System calls that fail with ENOSPC from one call on, until `isOver`. */
const fullCalls = (from: number, isOver: (call: number) => boolean): Calls => {
  let made = 0
  const full = Object.assign(new Error("ENOSPC"), { code: "ENOSPC" })
  const needing =
    <Args extends ReadonlyArray<unknown>, A>(call: (...args: Args) => Effect.Effect<A, Error>) =>
    (...args: Args) =>
      Effect.suspend(() => (++made >= from && !isOver(made) ? Effect.fail(full) : call(...args)))
  return {
    ...nodeCalls,
    open: (at, flags, mode) => (flags === "r" ? nodeCalls.open : needing(nodeCalls.open))(at, flags, mode),
    write: needing(nodeCalls.write),
    mkdir: needing(nodeCalls.mkdir),
    link: needing(nodeCalls.link),
    symlink: needing(nodeCalls.symlink),
    copyFile: needing(nodeCalls.copyFile),
    rename: needing(nodeCalls.rename)
  }
}

const prepared = Effect.map(temporaryFolder, (folder) => {
  const root = fs.realpathSync(folder)
  prepare(root)
  return root
})

const before = Effect.scoped(Effect.map(prepared, treeOf))

const describeSteps = (steps: ReadonlyArray<Step>): string => JSON.stringify(steps, undefined, 1)

describe("random transactions", () => {
  const each = (
    name: string,
    check: (steps: ReadonlyArray<Step>, random: (below: number) => number, what: string) => Effect.Effect<void, unknown>
  ) =>
    it.live(name, () =>
      Effect.forEach(
        Array.from({ length: seeds }, (_, i) => first + i),
        (seed) => {
          const random = seeded(seed)
          const steps = generate(random)
          const what = `seed ${seed}: ${describeSteps(steps)}`
          return Effect.mapError(check(steps, random, what), (error) => new Error(what, { cause: error }))
        },
        { discard: true }
      )
    )

  each("make their changes without those of failing parts, and none if they fail", (steps, _, what) =>
    Effect.gen(function* () {
      const [whole, expected, failed] = yield* Effect.all([prepared, prepared, prepared])
      yield* inProcess(transaction(whole, steps))
      yield* inProcess(transaction(expected, kept(steps)))
      assert.deepStrictEqual(treeOf(whole), treeOf(expected), what)
      yield* inProcess(Effect.flip(transaction(failed, steps, Effect.fail("no"))))
      assert.deepStrictEqual(treeOf(failed), yield* before, what)
    }).pipe(Effect.scoped)
  )

  each("leave all files old or all new after crashes, also of recoveries", (steps, random, what) =>
    Effect.gen(function* () {
      const [undisturbed, root] = yield* Effect.all([prepared, prepared])
      const ending = random(3) === 0 ? Effect.fail("no") : Effect.void
      const calls = yield* until(undefined, transaction(undisturbed, steps, ending))
      const log: Array<string> = []
      const crashing = (call: number, program: Program) => {
        const when = (["before", "half", "after"] as const)[random(3)] ?? "half"
        log.push(`${when} call ${call}:`)
        return Effect.map(until({ call, when }, program), (made) => log.push(...made))
      }
      // Late calls are likelier: more changes have to be undone then.
      const call = Math.max(1 + random(calls.length), 1 + random(calls.length))
      yield* crashing(call, transaction(root, steps, ending))
      // Recoveries crash within their first calls.
      for (let attempt = random(10); attempt > 0; attempt--) {
        yield* crashing(1 + random(4), FileTransaction.recover(root))
      }
      yield* inProcess(FileTransaction.recover(root))
      const found = treeOf(root)
      const old = yield* before
      const isOld = JSON.stringify(found) === JSON.stringify(old)
      assert.deepStrictEqual(found, isOld ? old : treeOf(undisturbed), `${what}\n${log.join("\n")}`)
      assert.isFalse(yield* inProcess(FileTransaction.recover(root)))
    }).pipe(Effect.scoped)
  )

  each(
    "leave all files old or all new when the disk is full, at the latest once there is space",
    (steps, random, what) =>
      Effect.gen(function* () {
        const [undisturbed, root] = yield* Effect.all([prepared, prepared])
        const calls = yield* until(undefined, transaction(undisturbed, steps))
        const from = 1 + random(calls.length)
        const lasts = random(2) === 0 ? 1 : 1000
        const full = fullCalls(from, (call) => call >= from + lasts)
        const exit = yield* transaction(root, steps, Effect.fail("no")).pipe(
          inProcess,
          Effect.exit,
          Effect.provideService(CurrentCalls, full)
        )
        if (Exit.isSuccess(exit) || Cause.isDie(exit.cause)) assert.fail(`${what}\n${exit}`)
        for (let attempt = random(3); attempt > 0; attempt--) {
          const again = fullCalls(1 + random(6), () => random(2) === 0)
          yield* Effect.exit(Effect.provideService(inProcess(FileTransaction.recover(root)), CurrentCalls, again))
        }
        yield* inProcess(FileTransaction.recover(root))
        assert.deepStrictEqual(treeOf(root), yield* before, `${what}\nno space from call ${from} on, for ${lasts}`)
      }).pipe(Effect.scoped)
  )
})
