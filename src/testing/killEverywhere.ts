/**
 * Crashes with real processes and a real SIGKILL.
 *
 * @since 0.1.0
 */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Workflow from "../durable/Workflow.js"
import { messageOf } from "../resilience/Foreign.js"
import { whole } from "../resilience/internal/kernel/options.js"
import * as Storage from "../storage/Storage.js"
import { type CrashPoint, crashing, describe, makeCrasher } from "./internal/crashing.js"
import { describeExit, outcomeOf, runId, whileLeaseIsHeld } from "./internal/observe.js"
import * as Ledger from "./Ledger.js"
import * as Scorecard from "./Scorecard.js"

/**
 * @since 0.1.0
 * @category crashes
 */
export interface ChildOptions<Input, R, E2, P> {
  readonly input: Input
  /**
   * The storage of the processes in this folder, with its client if the workflow uses the client too. Each folder is
   * another run: derive a schema or prefix from its name if the database lies elsewhere.
   */
  readonly storage: (folder: string) => Layer.Layer<Storage.Storage | P, E2>
  /** The other services of the workflow. */
  readonly services?: Layer.Layer<Exclude<R, Ledger.Ledger | P>, E2, Ledger.Ledger | Storage.Storage | P> | undefined
}

/**
 * The program of the processes that {@link killEverywhere} kills. It executes the
 * workflow with a ledger on disk, and sends itself a SIGKILL at the crash point.
 * Run it in its own file, with `Effect.runPromise`.
 *
 * A process waits for the lease of the one that was killed. Keep leases short in a
 * storage that cannot know whether a process is dead.
 *
 * @since 0.1.0
 * @category crashes
 */
export const child = <Input, A, E, R, E2 = never, P = never>(
  workflow: Workflow.Workflow<Input, A, E, R, unknown>,
  { input, services, storage }: ChildOptions<Input, R, E2, P>
): Effect.Effect<void, E2> =>
  Effect.suspend(() => {
    const folder = process.env[folderVariable] ?? "."
    const crasher = makeCrasher(
      pointFrom(process.env[crashVariable]),
      Effect.zipRight(
        Effect.sync(() => process.kill(process.pid, "SIGKILL")),
        Effect.never
      )
    )
    const crashingStorage = Layer.map(storage(folder), (context) =>
      Context.add(context, Storage.Storage, crashing(Context.get(context, Storage.Storage), crasher))
    )
    // Without services, the workflow requires only the ledger.
    const needs = (services ?? Layer.empty) as Layer.Layer<R, E2, Ledger.Ledger | Storage.Storage | P>
    const ledger = Ledger.layerFile(path.join(folder, "ledger.jsonl"))
    const all = Layer.provideMerge(needs, Layer.merge(crashingStorage, ledger))
    // A request may omit the input only if the workflow has none, and then `input` is undefined.
    const request = { id: runId, input } as unknown as Workflow.Request<Input>
    const execute = Effect.exit(whileLeaseIsHeld(Workflow.execute(workflow, request), "50 millis")) as Effect.Effect<
      Exit.Exit<A, unknown>,
      never,
      R | Storage.Storage
    >
    return Effect.flatMap(Effect.provide(execute, all), (exit) =>
      Effect.sync(() => fs.writeFileSync(path.join(folder, "outcome"), describeExit(exit)))
    )
  })

/**
 * @since 0.1.0
 * @category crashes
 */
export interface KillOptions<E2> {
  /** The compiled program that runs {@link child}. */
  readonly program: string
  readonly args?: ReadonlyArray<string> | undefined
  /** The storage of the processes, to read the run and its journal. */
  readonly storage: (folder: string) => Layer.Layer<Storage.Storage, E2>
  /** The number of processes at a time, at least 1. Defaults to 2. */
  readonly concurrency?: number | undefined
}

/**
 * As `Testing.crashEverywhere`, with real processes: for each durable write, one
 * process is killed by a SIGKILL right before it, and one right after it. Another
 * process resumes the run, and the result is compared with a run without a crash.
 *
 * @since 0.1.0
 * @category crashes
 */
export const killEverywhere = <E2>(
  options: KillOptions<E2>
): Effect.Effect<Scorecard.Scorecard, E2 | ChildFailed | Storage.StorageError> =>
  Effect.gen(function* () {
    const concurrency = whole("concurrency", options.concurrency ?? 2, 1)
    const undisturbed = yield* observe(options, undefined)
    let card = Scorecard.empty
    for (let first = 1; ; first += concurrency) {
      const points = Array.from({ length: concurrency }, (_, i) => first + i).flatMap((write) => [
        { write, when: "before" as const },
        { write, when: "after" as const }
      ])
      const observed = yield* Effect.forEach(points, (point) => observe(options, point), { concurrency })
      for (const [i, observation] of observed.entries()) {
        const point = points[i]
        if (point !== undefined && observation.killed) {
          card = Scorecard.add(card, describe(point), undisturbed, observation)
        }
      }
      if (observed.some(({ killed }) => !killed)) return card
    }
  })

/**
 * A child process failed, or ended by a signal other than the expected SIGKILL.
 *
 * @since 0.1.0
 * @category errors
 */
export class ChildFailed extends Data.TaggedError("ChildFailed")<{
  /** Its error output. */
  readonly errors: string
}> {
  override get message(): string {
    return `The child process failed: ${this.errors}`
  }
}

const observe = <E2>(options: KillOptions<E2>, point: CrashPoint | undefined) =>
  Effect.acquireUseRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "effect-recovery-kill-"))),
    (folder) =>
      Effect.gen(function* () {
        const crash: Record<string, string> = point === undefined ? {} : { [crashVariable]: describe(point) }
        const first = yield* run(options, { [folderVariable]: folder, ...crash })
        const killed = first.signal === "SIGKILL"
        if (killed) yield* run(options, { [folderVariable]: folder })
        return { killed, ...(yield* read(options, folder)) }
      }),
    (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true, force: true }))
  )

const run = (
  { args = [], program }: Pick<KillOptions<never>, "args" | "program">,
  env: Readonly<Record<string, string>>
) =>
  Effect.flatMap(runChild(program, args, env), (ended): Effect.Effect<Ended, ChildFailed> => {
    const expected = ended.code === 0 || (ended.signal === "SIGKILL" && crashVariable in env)
    return expected ? Effect.succeed(ended) : Effect.fail(new ChildFailed({ errors: ended.errors }))
  })

const read = <E2>(
  { storage }: KillOptions<E2>,
  folder: string
): Effect.Effect<Scorecard.Observation, E2 | Storage.StorageError> =>
  Effect.gen(function* () {
    const service = yield* Storage.Storage
    const found = yield* service.find(runId)
    const journal = Option.isNone(found) ? [] : yield* service.journal(found.value.key)
    const ledger = yield* Effect.provide(Ledger.lines, Ledger.layerFile(path.join(folder, "ledger.jsonl")))
    const described = fs.readFileSync(path.join(folder, "outcome"), "utf8")
    return { outcome: outcomeOf(Option.getOrUndefined(found), described), ledger, journal }
  }).pipe(Effect.provide(storage(folder)))

const pointFrom = (text: string | undefined): CrashPoint | undefined => {
  const found = /^(before|after) write (\d+)$/.exec(text ?? "")
  return found === null ? undefined : { when: found[1] as CrashPoint["when"], write: Number(found[2]) }
}

/** How a child process ended. */
interface Ended {
  readonly code: number | null
  readonly signal: string | null
  readonly errors: string
}

/** Runs a program to its end. An interruption kills it. */
const runChild = (
  program: string,
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>>
): Effect.Effect<Ended> =>
  Effect.async((resume) => {
    const child = childProcess.spawn(process.execPath, [program, ...args], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "ignore", "pipe"]
    })
    let errors = ""
    child.stderr.on("data", (data) => {
      errors += data
    })
    child.on("error", (error) => resume(Effect.succeed({ code: 1, signal: null, errors: messageOf(error) })))
    child.on("close", (code, signal) => resume(Effect.succeed({ code, signal, errors })))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

/** Environment variables of a child: its folder, and its crash point. */
const folderVariable = "RECOVERY_TESTING_FOLDER"
const crashVariable = "RECOVERY_TESTING_CRASH"
