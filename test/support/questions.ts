import * as Effect from "effect/Effect"
import type { Storage } from "effect-recovery"

const workflows = [{ workflow: "one", version: "1" }]

const runLists: ReadonlyArray<Parameters<Storage.Store["list"]>[0]> = [
  {},
  ...(["running", "held", "suspended", "stopped", "completed", "failed", "exhausted", "cancelled"] as const).map(
    (status) => ({ status, workflow: "one" })
  ),
  { labels: { team: "a", tenant: "b" } },
  { parent: "above" },
  { queue: "mails" },
  { createdSince: 5, createdBefore: 9 },
  { waitsFor: { kind: "question", before: 5 } }
]

const snapshotLists: ReadonlyArray<Storage.SnapshotQuery> = [
  {},
  { run: "run-1" },
  { run: "run-1", name: "draft" },
  { run: null, name: "draft" },
  { run: null, name: "draft", takenBefore: 5, order: "oldest" },
  { labels: { team: "a", tenant: "b" } },
  { name: "draft", own: ["a"] },
  { name: "draft", order: "highestKey", ownBefore: "b" },
  { kind: "manual", before: 5 }
]

const recordLists: ReadonlyArray<Storage.RecordQuery> = [
  {},
  { kind: "failure" },
  { kind: "failure", subject: "run-1" },
  { kind: "failure", scope: "a" },
  { kind: "failure", status: "open", unchangedSince: 5 },
  { kind: "failure", body: "{}" }
]

const limits = [{ name: "mails", concurrency: 3, perKey: 1, rate: { limit: 5, millis: 1_000, perKey: true } }]

/** What processes ask of a storage beside the life of one run, whose statements are prepared with the store. */
export const ask = (store: Storage.Store) =>
  Effect.gen(function* () {
    const limit = 10
    yield* Effect.all([store.backlog, store.queues, store.countRuns, store.usage, store.check], { discard: true })
    yield* Effect.forEach(runLists, (query) => store.list({ ...query, limit }), { discard: true })
    yield* Effect.forEach(snapshotLists, (query) => store.snapshots({ ...query, limit }), { discard: true })
    yield* Effect.forEach(snapshotLists, (query) => store.fullSnapshots({ ...query, limit }), { discard: true })
    yield* Effect.forEach(recordLists, (query) => store.records({ ...query, limit }), { discard: true })
    yield* store.counters("failures/")
    yield* store.enqueue(queued)
    const placement = { shards: 4, owned: [1, 2] }
    yield* store.claimDue({ workflows, queues: limits, placement, limit }, "process/1", 1_000)
    yield* store.claimDue({ workflows, queues: limits, limit }, "process/2", 1_000)
    yield* store.claimDue({ workflows, orphans: true, limit }, "process/3", 1_000)
  })

const queued: Storage.EnqueueRequest = {
  id: "queued",
  workflow: "one",
  version: "1",
  input: "",
  labels: {},
  queue: { name: "mails", key: "a", priority: 0 }
}
