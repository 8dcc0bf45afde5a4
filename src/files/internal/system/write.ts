import * as Effect from "effect/Effect"
import { type Call, type Calls, errno } from "./calls.js"

type Writing = Pick<Calls, "write">

/** Longer texts are encoded piece by piece into a buffer that is kept: allocating a buffer for each costs more than the write. */
const maxShortText = 1 << 14

const bufferSize = 1 << 20

/** The kept buffer, unless a write is using it. Concurrent writes allocate their own. */
let spareBuffer: Uint8Array | undefined

const encoder = new TextEncoder()

/** Writes the whole content, in several calls where one writes only a part. */
export const writeAll = (calls: Writing, file: number, content: Uint8Array | string, position?: number): Call<void> => {
  if (typeof content !== "string") return writeBytes(calls, file, content, position)
  return content.length <= maxShortText
    ? writeBytes(calls, file, Buffer.from(content), position)
    : Effect.suspend(() => writeText(calls, file, content, position))
}

const advance = (position: number | undefined, written: number) =>
  position === undefined ? undefined : position + written

const writeBytes = (calls: Writing, file: number, bytes: Uint8Array, position: number | undefined): Call<void> =>
  Effect.flatMap(calls.write(file, bytes, position), (written) => {
    if (written >= bytes.length) return Effect.void
    return written > 0
      ? writeBytes(calls, file, bytes.subarray(written), advance(position, written))
      : Effect.fail(errno("EIO", "nothing was written"))
  })

const writeText = (calls: Writing, file: number, text: string, position: number | undefined): Call<void> => {
  const buffer = spareBuffer ?? new Uint8Array(bufferSize)
  spareBuffer = undefined
  const writeFrom = (start: number, at: number | undefined): Call<void> => {
    const { read, written } = encoder.encodeInto(start === 0 ? text : text.slice(start), buffer)
    const wrote = writeBytes(calls, file, buffer.subarray(0, written), at)
    return start + read < text.length
      ? Effect.flatMap(wrote, () => writeFrom(start + read, advance(at, written)))
      : wrote
  }
  const keepBuffer = Effect.sync(() => {
    spareBuffer = buffer
  })
  // Interruption does not cancel a write: it would continue with what the next user puts into the buffer.
  return Effect.uninterruptible(Effect.ensuring(writeFrom(0, position), keepBuffer))
}
