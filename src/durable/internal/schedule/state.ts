/** What is stored of a schedule: its settings, and how far its due times are decided. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { escapeName } from "../../../resilience/Key.js"
import * as Storage from "../../../storage/Storage.js"

export const CatchUp = Schema.Literal("none", "last", "all")
export const Overlap = Schema.Literal("skip", "queue", "cancel", "allow")

const Rule = Schema.Union(
  Schema.Struct({ cron: Schema.String, timeZone: Schema.String }),
  Schema.Struct({ every: Schema.Number })
)

const Settings = Schema.Struct({
  workflow: Schema.String,
  rule: Rule,
  catchUp: CatchUp,
  overlap: Overlap,
  /** The most due times that are made up for, and that wait for a run to end. */
  backlog: Schema.Number
})

export type Settings = typeof Settings.Type

const Start = Schema.Struct({ run: Schema.String, due: Schema.Number })

export type Start = typeof Start.Type

const State = Schema.Struct({
  settings: Settings,
  /** All due times until this one are decided. */
  cursor: Schema.Number,
  /** Runs that are decided, and perhaps not recorded yet. */
  starts: Schema.Array(Start),
  /** Due times that wait until the runs before them have ended. */
  waiting: Schema.Array(Schema.Number),
  /** Runs of the schedule that may not have ended. */
  open: Schema.Array(Schema.String),
  last: Schema.optional(Start),
  paused: Schema.optional(
    Schema.Struct({ at: Schema.Number, reason: Schema.optional(Schema.String), by: Schema.optional(Schema.String) })
  )
})

export type State = typeof State.Type

const codec = Schema.parseJson(State)

export interface Stored {
  readonly name: string
  readonly key: number
  readonly revision: number
  readonly state: State
}

const kind = "schedule"

/** The id of the run for a due time. */
export const runId = (schedule: string, due: number): string =>
  `${escapeName(schedule)}/${new Date(due).toISOString().replace(".000Z", "Z")}`

const damaged = (name: string, cause: unknown) =>
  new Storage.StorageError({ reason: "Damaged", operation: `Reading schedule "${name}"`, cause })

export const decodeStored = (row: Storage.RecordRow): Effect.Effect<Stored, Storage.StorageError> =>
  row.damaged === undefined
    ? Effect.mapBoth(Schema.decode(codec)(row.body), {
        onFailure: (cause) => damaged(row.id, cause),
        onSuccess: (state) => ({ name: row.id, key: row.key, revision: row.revision, state })
      })
    : Effect.fail(damaged(row.id, row.damaged))

export const findRow = (storage: Storage.Service, name: string) => storage.findRecord(kind, name)

export const findStored = (storage: Storage.Service, name: string) =>
  Effect.flatMap(findRow(storage, name), (row) => Effect.transposeMapOption(row, decodeStored))

/** Writes a state in place of the one with this revision, 0 for none. Returns false if another process was first. */
export const writeState = (storage: Storage.Service, name: string, revision: number, state: State) =>
  Effect.map(
    storage.write(
      {
        kind,
        id: name,
        subject: state.settings.workflow,
        scope: "",
        status: state.paused === undefined ? "active" : "paused",
        labels: {},
        revision,
        body: Schema.encodeSync(codec)(state)
      },
      []
    ),
    Option.isSome
  )

/** All schedules, by name. */
export const listStored = (storage: Storage.Service) =>
  Effect.map(
    Effect.iterate(
      { rows: [] as ReadonlyArray<Storage.RecordRow>, isWhole: false },
      {
        while: ({ isWhole }) => !isWhole,
        body: ({ rows }) =>
          Effect.map(storage.records({ kind, before: rows.at(-1)?.key, limit: pageSize }), (page) => ({
            rows: [...rows, ...page],
            isWhole: page.length < pageSize
          }))
      }
    ),
    ({ rows }) => [...rows].sort((a, b) => (a.id < b.id ? -1 : 1))
  )

const pageSize = 500
