import * as Effect from "effect/Effect"
import { type Call, type Calls, errno } from "./calls.js"

/** Longer texts are encoded into memory that is kept: new memory for their bytes would take longer than writing them. */
const short = 1 << 14

const scratchSize = 1 << 20

/** Whoever writes a long text takes it; who comes meanwhile makes one for itself. */
let spare: Uint8Array | undefined

const encoder = new TextEncoder()

/** One write may take less than it was given. */
export const writeAll = (calls: Calls, file: number, content: Uint8Array | string, position?: number): Call<void> => {
  if (typeof content !== "string") return writeBytes(calls, file, content, position)
  return content.length <= short
    ? writeBytes(calls, file, Buffer.from(content), position)
    : Effect.suspend(() => writeText(calls, file, content, position))
}

const after = (position: number | undefined, written: number) =>
  position === undefined ? undefined : position + written

const writeBytes = (calls: Calls, file: number, bytes: Uint8Array, position: number | undefined): Call<void> =>
  Effect.flatMap(calls.write(file, bytes, position), (written) => {
    if (written >= bytes.length) return Effect.void
    return written > 0
      ? writeBytes(calls, file, bytes.subarray(written), after(position, written))
      : Effect.fail(errno("EIO", "nothing was written"))
  })

const writeText = (calls: Calls, file: number, text: string, position: number | undefined): Call<void> => {
  const scratch = spare ?? new Uint8Array(scratchSize)
  spare = undefined
  const piece = (from: number, at: number | undefined): Call<void> => {
    const { read, written } = encoder.encodeInto(from === 0 ? text : text.slice(from), scratch)
    const wrote = writeBytes(calls, file, scratch.subarray(0, written), at)
    return from + read < text.length ? Effect.flatMap(wrote, () => piece(from + read, after(at, written))) : wrote
  }
  const giveBack = Effect.sync(() => {
    spare = scratch
  })
  // Interrupting an effect does not take a write back: it would go on with what somebody else encodes by then.
  return Effect.uninterruptible(Effect.ensuring(piece(0, position), giveBack))
}
