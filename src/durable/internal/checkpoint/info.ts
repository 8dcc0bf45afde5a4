import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { FullSnapshot, Snapshot } from "../../../storage/Storage.js"
import type { Info, SaveOptions, Stats, Validity } from "../../Checkpoint.js"
import type { Place } from "./place.js"
import type { Written } from "./state.js"

type New = Omit<FullSnapshot, "key" | "rewound" | "run" | "step" | "seq">

/** What is recorded beside the state, and decides nothing in the storage. */
type About = Pick<Info, "environment" | "dependencies" | "artifacts" | "metadata">

const nothing = "{}"

export const newSnapshot = (
  { at, kind, name }: Pick<New, "name" | "kind" | "at">,
  written: Written,
  given: SaveOptions
): New => ({
  ...written,
  name,
  at,
  kind: given.kind ?? kind,
  labels: given.labels ?? {},
  about: aboutOf(given)
})

/** What cannot be written is found before anything is. */
export const checkAbout = (given: SaveOptions): Effect.Effect<void, unknown> =>
  given.metadata === undefined ? Effect.void : Effect.try({ try: () => void aboutOf(given), catch: (cause) => cause })

const aboutOf = ({ artifacts, dependencies, environment, metadata }: SaveOptions): string => {
  if ((artifacts ?? dependencies ?? environment ?? metadata) === undefined) return nothing
  const files = artifacts?.map((artifact) => (typeof artifact === "string" ? { path: artifact } : artifact))
  return JSON.stringify({ environment, dependencies, artifacts: files, metadata })
}

/** What a snapshot that is saved there will be known as, once it has a key. */
export const infoAt = (place: Place, snapshot: New): ((key: number) => Info) => {
  const step = place._tag === "Outside" ? "" : place._tag === "Body" ? place.key : place.step
  const run = place._tag === "Outside" ? undefined : place.run.id
  return (key) => infoOf({ ...snapshot, key, run, step, seq: 0, rewound: false })
}

export const infoOf = (snapshot: Snapshot): Info => {
  const { at, digest, key, kind, labels, name, rewound, run, size, step, version } = snapshot
  const known = { id: String(key), name, kind, version, run, step, at: new Date(at), size, digest, labels, rewound }
  return { ...known, ...toAbout(snapshot.about) }
}

/** Damaged, it says nothing; the state has a digest of its own. */
const toAbout = (text: string): About => {
  if (text === nothing) return { artifacts: [], dependencies: [], environment: {}, metadata: {} }
  try {
    return readAbout(text)
  } catch {
    return { artifacts: [], dependencies: [], environment: {}, metadata: { damaged: text } }
  }
}

const readAbout = Schema.decodeUnknownSync(
  Schema.parseJson(
    Schema.Struct({
      artifacts: Schema.optionalWith(
        Schema.Array(
          Schema.Struct({
            path: Schema.String,
            size: Schema.optional(Schema.Number),
            digest: Schema.optional(Schema.String)
          })
        ),
        { default: () => [] }
      ),
      dependencies: Schema.optionalWith(Schema.Array(Schema.String), { default: () => [] }),
      environment: Schema.optionalWith(Schema.Record({ key: Schema.String, value: Schema.String }), {
        default: () => ({})
      }),
      metadata: Schema.optionalWith(Schema.Record({ key: Schema.String, value: Schema.Unknown }), {
        default: () => ({})
      })
    })
  )
)

/** As it is in the journal. */
export const toInfo = (text: string): Info => {
  const info: Info = JSON.parse(text)
  return { ...info, run: info.run, at: new Date(info.at) }
}

export const toInfos = (text: string): ReadonlyArray<Info> => {
  const all: ReadonlyArray<Info> = JSON.parse(text)
  return all.map((info) => ({ ...info, run: info.run, at: new Date(info.at) }))
}

export const toStats = (text: string): Stats => {
  const stats = JSON.parse(text)
  const dateOf = ({ value }: { readonly value?: string }) =>
    value === undefined ? Option.none() : Option.some(new Date(value))
  return { ...stats, oldest: dateOf(stats.oldest), newest: dateOf(stats.newest) }
}

export const toValidity = (text: string): Validity | null => {
  const validity: Validity | null = JSON.parse(text)
  return validity && { ...validity, checkedAt: new Date(validity.checkedAt) }
}
