import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { messageOf } from "../../../resilience/Foreign.js"
import type { FullSnapshot } from "../../../storage/Storage.js"
import type { Check, Finding, Info, Validity } from "../../Checkpoint.js"
import type { Problem } from "../../CheckpointError.js"
import { isDone } from "./atOnce.js"
import { type Content, contentOf, NoMigration, type StateCodec } from "./stateCodec.js"

/** Severities of the built-in checks. */
const defaults: Readonly<Record<string, Problem["severity"]>> = {
  integrity: "error",
  version: "error",
  schema: "error",
  run: "error",
  state: "warning",
  environment: "warning",
  artifacts: "warning",
  dependencies: "error"
}

export interface CheckOptions {
  readonly codec: Pick<StateCodec, "decode">
  readonly checks: ReadonlyArray<Check<unknown>>
  readonly severities: Readonly<Record<string, Problem["severity"]>>
  /** The run that restores the checkpoint. */
  readonly run: string | undefined
}

export interface Checked {
  readonly problems: ReadonlyArray<Problem>
  readonly state: unknown
}

/** Runs all checks. Returns their problems, errors first, and the state if it can be read. */
export const check = (
  snapshot: FullSnapshot,
  info: Info,
  options: CheckOptions
): Effect.Effect<Checked, never, unknown> =>
  Effect.gen(function* () {
    const read = yield* readState(snapshot, options.codec)
    const found = yield* Effect.forEach(options.checks, (check) =>
      Effect.map(findingsOf(check, info), (findings) =>
        findings.map((finding) => ({ check: check.name, severity: check.severity, ...finding }))
      )
    )
    const all = [...read.problems, ...foreign(info, options.run), ...unchecked(info, options.checks), ...found.flat()]
    const problems = all.map((problem) => ({ ...problem, severity: severityOf(problem, options) }))
    const errorsFirst = problems.sort((a, b) => Number(b.severity === "error") - Number(a.severity === "error"))
    return { state: read.state, problems: errorsFirst }
  })

/** Reads the state of a checkpoint whose definition is not at hand. An undefined state is stored as an empty text. */
export const anyState: CheckOptions["codec"] = {
  decode: (content) =>
    Effect.try({
      try: (): unknown => (typeof content === "string" && content !== "" ? JSON.parse(content) : content),
      catch: (cause) => cause
    })
}

/** What `validate` answers about these problems. */
export const validityOf = (problems: ReadonlyArray<Problem>): Effect.Effect<Validity> =>
  Effect.map(Clock.currentTimeMillis, (now) => ({
    isValid: !hasErrors(problems),
    errors: problems.filter(({ severity }) => severity === "error"),
    warnings: problems.filter(({ severity }) => severity === "warning"),
    checkedAt: new Date(now)
  }))

/** A check that dies or hangs is a problem too, and must not hide the problems of other checks. */
const findingsOf = (check: Check<unknown>, info: Info): Effect.Effect<ReadonlyArray<Finding>, never, unknown> =>
  Effect.suspend(() => check.check(info)).pipe(
    Effect.catchAllCause((cause) =>
      Cause.isInterruptedOnly(cause)
        ? Effect.failCause(cause)
        : Effect.succeed([{ subject: check.name, message: `the check failed: ${messageOf(Cause.squash(cause))}` }])
    ),
    Effect.timeoutTo({
      duration: "30 seconds",
      onSuccess: (findings) => findings,
      onTimeout: () => [{ subject: check.name, message: "the check did not end within 30 seconds" }]
    })
  )

export const hasErrors = (problems: ReadonlyArray<Problem>): boolean =>
  problems.some(({ severity }) => severity === "error")

export const severityOf = (problem: Problem, { severities }: Pick<CheckOptions, "severities">): Problem["severity"] =>
  (Object.hasOwn(severities, problem.check) ? severities[problem.check] : undefined) ?? problem.severity

const problem = (check: string, subject: string, message: string): Problem => ({
  check,
  severity: defaults[check] ?? "error",
  subject,
  message
})

/** Verifies the digest, then decodes the state. */
export const readState = (
  snapshot: FullSnapshot,
  codec: CheckOptions["codec"]
): Effect.Effect<Checked, never, unknown> => {
  const content = contentOf(snapshot)
  if (isDone(content)) return decodeState(content.value, snapshot, codec)
  return Effect.matchEffect(content, {
    onFailure: ({ message }) => Effect.succeed(unreadable("integrity", message)),
    onSuccess: (content) => decodeState(content, snapshot, codec)
  })
}

const decodeState = (content: Content, snapshot: FullSnapshot, codec: CheckOptions["codec"]) => {
  const read = (state: unknown): Checked => ({
    state,
    problems: isEmpty(content) ? [problem("state", "state", "it is empty")] : []
  })
  const decoded = decodeWith(content, snapshot, codec)
  if (isDone(decoded)) return Effect.succeed(read(decoded.value))
  return Effect.matchCause(decoded, {
    onFailure: (cause) => {
      const error = Cause.squash(cause)
      return unreadable(error instanceof NoMigration ? "version" : "schema", messageOf(error))
    },
    onSuccess: read
  })
}

/** A schema may throw where it is looked at. */
const decodeWith = (
  content: Content,
  snapshot: FullSnapshot,
  codec: CheckOptions["codec"]
): Effect.Effect<unknown, unknown, unknown> => {
  try {
    return codec.decode(content, snapshot)
  } catch (defect) {
    return Effect.die(defect)
  }
}

const unreadable = (check: string, message: string) => ({
  state: undefined,
  problems: [problem(check, "state", message)]
})

const isEmpty = (content: Content): boolean =>
  content.length === 0 || content === "{}" || content === "[]" || content === "null"

const foreign = ({ run }: Info, here: string | undefined): ReadonlyArray<Problem> =>
  here === undefined || run === undefined || run === here
    ? []
    : [problem("run", run, `it belongs to this run, not to "${here}"`)]

/** Recorded facts that no check covers. */
const unchecked = (info: Info, checks: ReadonlyArray<Check<unknown>>): ReadonlyArray<Problem> => {
  const names = new Set(checks.map(({ name }) => name))
  const probed = new Set(checks.flatMap(({ covers }) => covers ?? []))
  return [
    ...(Object.keys(info.environment).length > 0 && !names.has("environment")
      ? [problem("environment", "environment", "it was recorded, but there is no check for it")]
      : []),
    ...(info.artifacts.length > 0 && !names.has("artifacts")
      ? [problem("artifacts", "artifacts", "they were recorded, but there is no check for them")]
      : []),
    ...info.dependencies
      .filter((dependency) => !probed.has(dependency))
      .map((dependency) => problem("dependencies", dependency, "there is no check for it"))
  ]
}
