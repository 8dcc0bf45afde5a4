import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Waiting } from "../../RunError.js"

/** What a suspended run waits for, kept beside it so that nobody has to read its journal. */
const Row = Schema.parseJson(Schema.Array(Waiting))

const encode = Schema.encodeSync(Row)
const decode = Schema.decodeUnknownOption(Row)

export const waitingOf = (waits: ReadonlyArray<Waiting>): string | undefined =>
  waits.length === 0 ? undefined : encode(waits)

/** It only describes: what cannot be read must not keep a list from being shown. */
export const readWaiting = (text: string | undefined): ReadonlyArray<Waiting> =>
  text === undefined ? [] : Option.getOrElse(decode(text), () => [])
