import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { entryOfSave } from "../rows.js"
import type { Lease, SnapshotQuery, SnapshotStore } from "../Store.js"
import { marked } from "../sqlite/rows.js"
import type { Access, Run } from "./access.js"
import { decoding, decodingEach } from "./errors.js"
import { insertLine } from "./lines.js"
import { asKey, removeByKey, toNumbers } from "./reading.js"
import { countLabel, leadingLabels, selectFullSnapshots, selectSnapshots } from "./snapshotQuery.js"
import {
  fullColumns,
  refuseOtherLabels,
  type StoredRow,
  snapshotColumns,
  snapshotNumbers,
  snapshotProblem,
  toFull,
  toFullRow,
  toSnapshot
} from "./snapshotRows.js"
import { makeSaving, type Save } from "./snapshotSaves.js"

export const makeSqlSnapshots = (access: Access): SnapshotStore => ({ ...makeSaves(access), ...makeQueries(access) })

const makeSaves = (access: Access): Pick<SnapshotStore, "save" | "saveAll" | "remove"> => {
  const saving = makeSaving(access)
  const append = insertLine(access)

  /** Answers the key of each save; none for one that saves nothing. */
  const saveIn = (run: Run, saves: ReadonlyArray<Save>, lease: Lease | undefined) =>
    Effect.gen(function* () {
      yield* saving.lockPlaces(run, saves)
      // After the locks: of saves in one place, the one that commits last has the highest key.
      const keys = yield* saving.keys(run, saves, lease)
      return yield* Effect.forEach(saves, (save, i) => saving.save(run, save, keys[i] as number))
    })

  return {
    save: (snapshot, { after, entry, ifKeyExists, lease }) =>
      access.transaction("Saving a snapshot", (run) =>
        Effect.flatMap(saveIn(run, [{ snapshot, ifKeyExists, after }], lease), ([saved = Option.none()]) =>
          Option.isNone(saved) || lease === undefined || entry === undefined
            ? Effect.succeed(saved)
            : Effect.as(append(run, lease, entryOfSave(entry, saved.value)), saved)
        )
      ),
    saveAll: (saves, lease) => access.transaction("Saving snapshots", (run) => saveIn(run, saves, lease)),
    remove: (keys) =>
      Effect.map(
        Effect.suspend(() => {
          const { params, text } = removeByKey(access, "snapshots", keys)
          return access.write("Removing snapshots", text, params)
        }),
        ({ length }) => length
      )
  }
}

const makeQueries = (access: Access): Pick<SnapshotStore, "snapshots" | "fullSnapshots" | "newest" | "snapshot"> => {
  const columns = fullColumns(access)
  const numbered = toNumbers<StoredRow>(access, ...snapshotNumbers)
  const full = (row: StoredRow) => toFull(toFullRow(row))

  /** The label that leads to the fewest snapshots. */
  const rarest = (operation: string, query: SnapshotQuery) => {
    const labels = leadingLabels(query)
    if (labels.length < 2) return Effect.succeed(labels[0])
    const counts = labels.map((_, i) => `${countLabel(access)} AS label_${i}`)
    return Effect.map(
      access.read<Record<string, unknown>>(operation, `SELECT ${counts.join(", ")}`, labels.flat()),
      ([row = {}]) =>
        labels
          .map((label, i) => ({ label, count: Number(row[`label_${i}`]) }))
          .reduce((rarest, one) => (one.count < rarest.count ? one : rarest)).label
    )
  }

  const read = (operation: string, query: SnapshotQuery, select: typeof selectSnapshots, columns: string) =>
    Effect.gen(function* () {
      const { params, text } = select(access, columns, query, yield* rarest(operation, query))
      const rows = (yield* access.read<StoredRow>(operation, text, params)).map(numbered)
      const { labels } = query
      yield* decoding(operation, () => {
        if (labels !== undefined) for (const row of rows) refuseOtherLabels(row, labels)
      })
      return rows
    })

  const readFull = (operation: string, query: SnapshotQuery) =>
    Effect.flatMap(read(operation, query, selectFullSnapshots, columns), (rows) => decodingEach(operation, rows, full))

  return {
    snapshots: (query) =>
      Effect.flatMap(read("Listing snapshots", query, selectSnapshots, snapshotColumns), (rows) =>
        decodingEach("Listing snapshots", rows, (row) => marked(toSnapshot(row), snapshotProblem(row)))
      ),
    fullSnapshots: (query) => readFull("Reading snapshots", query),
    newest: (query) =>
      Effect.map(readFull("Reading a snapshot", { ...query, limit: 1 }), ([found]) => Option.fromNullable(found)),
    snapshot: (key) =>
      Effect.flatMap(
        access.read<StoredRow>(
          "Reading a snapshot",
          `SELECT ${columns} FROM ${access.table("snapshots")} WHERE key = ?`,
          [asKey(key)]
        ),
        ([row]) =>
          decoding("Reading a snapshot", () => (row === undefined ? Option.none() : Option.some(full(numbered(row)))))
      )
  }
}
