import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { toOpenText } from "../../../journal/CanonicalJson.js"
import { checkName } from "../../../resilience/InvalidName.js"
import type { FullSnapshot, Snapshot } from "../../../storage/Storage.js"
import type { SaveOptions, Stats, Validity } from "../../Checkpoint.js"
import { Problem } from "../../CheckpointError.js"
import { Artifact, Info } from "../../CheckpointInfo.js"
import type { Written } from "./stateCodec.js"

export type NewSnapshot = Omit<FullSnapshot, "key" | "rewound" | "run" | "step" | "seq">

/** Facts recorded with the state. The storage does not interpret them. */
type About = Pick<Info, "environment" | "dependencies" | "artifacts" | "metadata">

const nothing = "{}"

export const newSnapshot = (
  { at, kind, name }: Pick<NewSnapshot, "name" | "kind" | "at">,
  written: Written,
  given: SaveOptions
): NewSnapshot => ({
  name,
  own: given.key,
  kind: given.kind ?? kind,
  version: written.version,
  schema: written.schema,
  digest: written.digest,
  size: written.size,
  encoding: written.encoding,
  state: written.state,
  labels: given.labels ?? {},
  about: aboutOf(given),
  at
})

/** The snapshot at its place in a run. Field by field, as below. */
export const placed = (
  { about, at, digest, encoding, kind, labels, name, own, schema, size, state, version }: NewSnapshot,
  run: string | undefined,
  step: string,
  seq: number
) => ({ run, step, seq, name, own, kind, version, schema, digest, size, encoding, state, labels, about, at })

/** Fails if the metadata has no JSON form, or the key or a label is no text, before anything is saved. */
export const checkAbout = (given: SaveOptions): Effect.Effect<void, unknown> => {
  const { key, labels, metadata } = given
  if (key === undefined && labels === undefined && metadata === undefined) return Effect.void
  return Effect.try({
    try: () => {
      if (key === "") throw new RangeError("the key is empty")
      if (key !== undefined) checkText("checkpoint's key", key)
      for (const label in labels) checkText(`label "${label}"`, label, labels[label])
      aboutOf(given)
    },
    catch: (cause) => cause
  })
}

const checkText = (what: string, ...texts: ReadonlyArray<unknown>): void => {
  for (const text of texts) {
    if (typeof text !== "string") throw new RangeError(`${what} must be a text`)
    // The value of a label may be empty.
    if (text !== "") checkName(what, text)
  }
}

const aboutOf = ({ artifacts, dependencies, environment, metadata }: SaveOptions): string => {
  if ((artifacts ?? dependencies ?? environment ?? metadata) === undefined) return nothing
  const files = artifacts?.map((artifact) => (typeof artifact === "string" ? { path: artifact } : artifact))
  return toOpenText({ environment, dependencies, artifacts: files, metadata }) ?? nothing
}

export const infoOf = (snapshot: Snapshot): Info => {
  const info = savedInfo(snapshot, snapshot.key, snapshot.rewound)
  return snapshot.damaged === undefined ? info : { ...info, metadata: { ...info.metadata, damaged: snapshot.damaged } }
}

/** Field by field: each save makes one, and copying by spreading costs more than the digest. */
export const savedInfo = (snapshot: Omit<Snapshot, "key" | "rewound">, key: number, rewound: boolean): Info => {
  const { artifacts, dependencies, environment, metadata } = toAbout(snapshot.about)
  const { at, digest, kind, labels, name, own, run, size, step, version } = snapshot
  return {
    id: String(key),
    name,
    key: own,
    kind,
    version,
    run,
    step,
    at: new Date(at),
    size,
    digest,
    labels,
    rewound,
    artifacts,
    dependencies,
    environment,
    metadata
  }
}

/** Damaged facts do not make the state unreadable: it has a digest of its own. */
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
      artifacts: Schema.optionalWith(Schema.Array(Artifact), { default: () => [] }),
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

// What the journal recorded. Each throws if the text has another form.

const readInfo = Schema.decodeUnknownSync(Schema.parseJson(Info))

export const toInfo = (text: string): Info => withAll(readInfo(text))

/** In a fresh one the properties are there, too. */
const withAll = (info: Info): Info => ({ ...info, run: info.run, key: info.key })

const readInfos = Schema.decodeUnknownSync(Schema.parseJson(Schema.Array(Info)))

export const toInfos = (text: string): ReadonlyArray<Info> => readInfos(text).map(withAll)

const Counts = Schema.Record({ key: Schema.String, value: Schema.Number })

/** JSON of an option: `value` is there if it has one. */
const DateOption = Schema.transform(
  Schema.Struct({ value: Schema.optional(Schema.Date) }),
  Schema.OptionFromSelf(Schema.DateFromSelf),
  {
    decode: ({ value }) => Option.fromNullable(value),
    encode: (date) => ({ value: Option.getOrUndefined(date) })
  }
)

export const toStats: (text: string) => Stats = Schema.decodeUnknownSync(
  Schema.parseJson(
    Schema.Struct({
      count: Schema.Number,
      bytes: Schema.Number,
      oldest: DateOption,
      newest: DateOption,
      byKind: Counts,
      byName: Counts
    })
  )
)

export const toId: (text: string) => string = Schema.decodeUnknownSync(Schema.parseJson(Schema.String))

export const toValidity: (text: string) => Validity | null = Schema.decodeUnknownSync(
  Schema.parseJson(
    Schema.NullOr(
      Schema.Struct({
        isValid: Schema.Boolean,
        errors: Schema.Array(Problem),
        warnings: Schema.Array(Problem),
        checkedAt: Schema.Date
      })
    )
  )
)
