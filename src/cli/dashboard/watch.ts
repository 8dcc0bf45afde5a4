import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as OperatorClient from "../../operate/OperatorClient.js"
import type { Reply, Value } from "../../operate/OperatorRequests.js"
import { type Common, open } from "../ask.js"
import { endedBy } from "../exit.js"
import { live } from "../render/live.js"
import { screenOf } from "../render/screen.js"
import { type Key, keys } from "./keys.js"

const output = process.stdout

/** Switches to the alternate screen, and restores the previous content at the end. */
const fullScreen = Effect.acquireRelease(
  Effect.sync(() => output.write("\u001b[?1049h\u001b[?25l")),
  () => Effect.sync(() => output.write("\u001b[?25h\u001b[?1049l"))
)

/** Raw mode: keys are not echoed, and Ctrl+C sends no signal. */
const rawInput = Effect.acquireRelease(
  Effect.sync(() => process.stdin.setRawMode(true).resume()),
  () => Effect.sync(() => process.stdin.setRawMode(false).pause())
)

const isQuit = ({ ctrl, name }: Key): boolean => name === "q" || name === "escape" || (ctrl === true && name === "c")

const quit = process.stdin.isTTY
  ? Effect.zipRight(rawInput, Stream.runDrain(Stream.takeUntil(keys(process.stdin), isQuit)))
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

/** Overwrites line by line instead of clearing the screen, so that it does not flicker. */
const draw = (lines: ReadonlyArray<string>) =>
  Effect.sync(() => output.write(`\u001b[H${lines.map((line) => `${line}\u001b[K`).join("\n")}\u001b[J`))

type Replies = Stream.Stream<Reply<"Overview">>

const onScreen = (replies: Replies, where: string) => {
  let value: Value<"Overview"> | undefined
  let trouble: string | undefined
  const redraw = Effect.suspend(() =>
    draw(live(screenOf(output), output.rows || undefined, { where, value, trouble, at: new Date() }))
  )
  const updates = Stream.mapEffect(replies, (reply) =>
    Effect.sync(() => {
      trouble = reply.ok ? undefined : reply.message
      if (reply.ok) value = reply.value
    })
  )
  const drawing = Stream.runForEach(Stream.merge(updates, resizes), () => redraw)
  return Effect.zipRight(fullScreen, Effect.raceFirst(drawing, quit))
}

/** The reader of the output is gone, as `head` is after its lines. It shows at the next write. */
const readerGone = Effect.async<void>((resume) => {
  const listener = () => resume(Effect.void)
  output.once("error", listener)
  return Effect.sync(() => output.off("error", listener))
})

/** For a log or another program: each change as a line of JSON, or as text below the previous one. */
const inLines = (replies: Replies, where: string, json: boolean) =>
  Stream.runForEach(replies, (reply) => {
    if (!reply.ok) return endedBy(reply, where)
    const frame = { where, value: reply.value, trouble: undefined, at: new Date() }
    return Console.log(json ? JSON.stringify(reply.value) : `${live(screenOf(output), undefined, frame).join("\n")}\n`)
  })

/** Shows the overview as it changes, until the user quits or a signal arrives. */
export const watch = (given: Common, repository: string | undefined) =>
  Effect.gen(function* () {
    const { operator, where } = yield* open(given)
    const replies = OperatorClient.changes<"Overview">(operator, { _tag: "Overview", repository })
    const shown = output.isTTY && !given.json ? onScreen(replies, where) : inLines(replies, where, given.json)
    yield* Effect.raceFirst(shown, readerGone)
  }).pipe(Effect.scoped)
