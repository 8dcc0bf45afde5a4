import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as Operator from "../../operate/Operator.js"
import * as asking from "../../operate/OperatorClient.js"
import type { Common } from "../ask.js"
import { open } from "../config.js"
import { endedBy } from "../exit.js"
import { live } from "../render/live.js"
import { screenOf } from "../render/table.js"

const output = process.stdout

/** Its own screen, which leaves what was there before as it was. */
const fullScreen = Effect.acquireRelease(
  Effect.sync(() => output.write("\u001b[?1049h\u001b[?25l")),
  () => Effect.sync(() => output.write("\u001b[?25h\u001b[?1049l"))
)

/** Keys come one by one, and are not shown. */
const rawInput = Effect.acquireRelease(
  Effect.sync(() => process.stdin.setRawMode(true).resume()),
  () => Effect.sync(() => process.stdin.setRawMode(false).pause())
)

/** In raw mode Ctrl+C is a key like others. */
const isQuit = (key: Buffer): boolean => ["q", "\u0003", "\u001b"].includes(key.toString())

const quit = process.stdin.isTTY
  ? Effect.zipRight(
      rawInput,
      Effect.async<void>((resume) => {
        const listener = (key: Buffer) => isQuit(key) && resume(Effect.void)
        process.stdin.on("data", listener)
        return Effect.sync(() => process.stdin.off("data", listener))
      })
    )
  : Effect.never

const resizes = Stream.asyncPush<void>((emit) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const listener = () => emit.single(undefined)
      output.on("resize", listener)
      return listener
    }),
    (listener) => Effect.sync(() => output.off("resize", listener))
  )
)

/** What does not change is written over by itself, so that nothing flickers. */
const draw = (lines: ReadonlyArray<string>) =>
  Effect.sync(() => output.write(`\u001b[H${lines.map((line) => `${line}\u001b[K`).join("\n")}\u001b[J`))

const onScreen = (answers: Stream.Stream<Operator.Reply>, where: string) => {
  let last: Extract<Operator.Reply, { readonly ok: true }> | undefined
  let trouble: string | undefined
  const redraw = Effect.suspend(() =>
    draw(live(screenOf(output), output.rows, { where, value: last?.value, trouble, at: new Date() }))
  )
  const told = Stream.mapEffect(answers, (reply) =>
    Effect.sync(() => {
      trouble = reply.ok ? undefined : reply.message
      if (reply.ok) last = reply
    })
  )
  const drawing = Stream.runForEach(Stream.merge(told, resizes), () => redraw)
  return Effect.zipRight(fullScreen, Effect.raceFirst(drawing, quit))
}

/** For a log or another program: one answer a line, or below the other. */
const inLines = (answers: Stream.Stream<Operator.Reply>, where: string, json: boolean) =>
  Stream.runForEach(answers, (reply) => {
    if (!reply.ok) return endedBy(reply)
    const shown = { where, value: reply.value, trouble: undefined, at: new Date() }
    return Console.log(json ? JSON.stringify(reply.value) : `${live(screenOf(output), undefined, shown).join("\n")}\n`)
  })

/** Shows how things stand as they change, until it is interrupted or told to quit. */
export const watch = (given: Common, repository: string | undefined) =>
  Effect.gen(function* () {
    const { operator, where } = yield* open(given)
    const answers = asking.changes(operator, { _tag: "Overview", repository })
    yield* output.isTTY && !given.json ? onScreen(answers, where) : inLines(answers, where, given.json)
  }).pipe(Effect.scoped)
