import { assert, describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import { Checkpoint, Events, Step, Storage, Workflow } from "effect-recovery"
import { backends } from "../support/storages.js"

const Draft = Checkpoint.make("draft", { schema: Schema.Struct({ text: Schema.String }) })
const Blob = Checkpoint.make("blob", { schema: Schema.Uint8ArrayFromSelf, compressAbove: 100 })
const Count = Checkpoint.make("count", { schema: Schema.Number })

const idsOf = (infos: ReadonlyArray<Checkpoint.Info>) => infos.map(({ id }) => id)

const statesOf = <S, E, R>(stream: Stream.Stream<Checkpoint.Restored<S>, E, R>) =>
  Effect.map(Stream.runCollect(stream), (all) => Chunk.toReadonlyArray(all).map(({ state }) => state))

for (const backend of backends) {
  describe(`${backend.name}: checkpoints as a store`, () => {
    const test = (name: string, body: (store: Storage.Store) => Effect.Effect<void, unknown, Storage.Storage>) =>
      it.scoped(name, () =>
        Effect.flatMap(backend.make, ({ join, store }) =>
          Effect.flatMap(Layer.build(join()), (context) => Effect.provide(body(store), context))
        )
      )

    test("bytes are stored as bytes, and read back as they were", (store) =>
      Effect.gen(function* () {
        const bytes = (length: number) => Uint8Array.from({ length }, (_, i) => (i * i * 31) % 256)
        const states = [new Uint8Array(0), bytes(1), bytes(99), new Uint8Array(5_000), bytes(5_000)]
        for (const state of states) {
          const info = yield* Blob.save(state)
          assert.strictEqual(info.size, state.length)
          const restored = yield* Blob.restore(info.id)
          assert.deepStrictEqual(restored.state, state)
          assert.isFalse(restored.state instanceof Buffer, "a Buffer is another type than the one that was saved")
          assert.strictEqual(restored.warnings.length, state.length === 0 ? 1 : 0)
          const stored = Option.getOrThrow(yield* store.snapshot(Number(info.id)))
          assert.instanceOf(stored.state, Uint8Array)
          assert.isAtMost(stored.state.length, state.length)
          assert.isTrue(yield* Checkpoint.isIntact(info.id))
          const damaged = Uint8Array.from(stored.state, (byte) => byte ^ 1)
          if (state.length === 0) continue
          const key = Option.getOrThrow(yield* store.save({ ...stored, state: damaged }, {}))
          assert.strictEqual((yield* Effect.flip(Blob.restore(String(key))))._tag, "CheckpointInvalid")
          yield* store.remove([key])
        }
        assert.deepStrictEqual(yield* statesOf(Blob.stream({ order: "oldest", pageSize: 2 })), states)
      }))

    test("bytes are those of the moment of the save, of a Buffer and of a transformed state too", () =>
      Effect.gen(function* () {
        const Text = Checkpoint.make("text", {
          schema: Schema.transform(Schema.Uint8ArrayFromSelf, Schema.String, {
            decode: (bytes) => Buffer.from(bytes).toString(),
            encode: (text) => Buffer.from(text)
          })
        })
        const info = yield* Text.save("äöü")
        assert.strictEqual(info.size, 6)
        assert.strictEqual(Option.getOrThrow(yield* Text.latest()).state, "äöü")
        const own = new Uint8Array([1, 2, 3])
        const save = Blob.save(own)
        const saved = yield* save
        own.fill(9)
        assert.deepStrictEqual((yield* Blob.restore(saved.id)).state, new Uint8Array([1, 2, 3]))
      }))

    test("a key exists once: a save replaces the checkpoint, or keeps it", () =>
      Effect.gen(function* () {
        const first = yield* Draft.save({ text: "a" }, { key: "letter", labels: { author: "ada" } })
        assert.strictEqual(first.key, "letter")
        const second = yield* Draft.save({ text: "b" }, { key: "letter", labels: { author: "bob" } })
        assert.notStrictEqual(second.id, first.id)
        assert.deepStrictEqual(yield* Draft.list(), [second])
        assert.deepStrictEqual(yield* Draft.list({ labels: { author: "ada" } }), [])
        assert.strictEqual((yield* Effect.flip(Draft.restore(first.id)))._tag, "CheckpointNotFound")
        const kept = yield* Draft.save({ text: "c" }, { key: "letter", ifKeyExists: "keep" })
        assert.deepStrictEqual(kept, second)
        assert.strictEqual(Option.getOrThrow(yield* Draft.latest({ key: "letter" })).state.text, "b")
        const other = yield* Draft.save({ text: "d" }, { key: "note", ifKeyExists: "keep" })
        assert.deepStrictEqual(idsOf(yield* Draft.list({ key: ["note", "letter", "none"] })), [other.id, second.id])
        // Another name has keys of its own.
        yield* Count.save(1, { key: "letter" })
        assert.strictEqual((yield* Draft.list()).length, 2)
      }))

    test("one of many concurrent saves that keep is kept", () =>
      Effect.gen(function* () {
        const saved = yield* Effect.forEach(
          Array.from({ length: 20 }, (_, i) => i),
          (i) => Count.save(i, { key: "k", ifKeyExists: "keep" }),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(new Set(idsOf(saved)).size, 1)
        assert.strictEqual((yield* Count.list()).length, 1)
      }))

    test("keys and labels that a storage would change are refused, and nothing is saved", () =>
      Effect.gen(function* () {
        const odd = ["\ud83d", "a\0b"]
        const options = [
          { key: "" },
          ...odd.map((key) => ({ key })),
          ...odd.map((value) => ({ labels: { a: value } })),
          ...odd.map((name) => ({ labels: { [name]: "" } })),
          { labels: { a: 1 as unknown as string } }
        ]
        for (const option of options) {
          const error = yield* Effect.flip(Draft.save({ text: "" }, option))
          assert.strictEqual(error._tag, "JournalError")
          const all = Checkpoint.saveAll([Count.entry(1), Draft.entry({ text: "" }, option)])
          assert.strictEqual((yield* Effect.flip(all))._tag, "JournalError")
        }
        assert.deepStrictEqual(yield* Checkpoint.list(), [])
        yield* Draft.save({ text: "" }, { key: "🙂", labels: { "": "🙂" } })
        assert.strictEqual((yield* Draft.list({ key: "🙂", labels: { "": "🙂" } })).length, 1)
      }))

    test("several saves are one transaction: all or none", (store) =>
      Effect.gen(function* () {
        const seen: Array<string> = []
        const watching = Events.layer((event) =>
          Effect.sync(() => {
            if (event._tag === "CheckpointSaved") seen.push(event.id)
          })
        )
        const saved = yield* Effect.provide(
          Checkpoint.saveAll([
            Draft.entry({ text: "a" }, { key: "a", labels: { batch: "1" } }),
            Blob.entry(new Uint8Array([1]), { labels: { batch: "1" } }),
            Draft.entry({ text: "b" }, { key: "b" }),
            Draft.entry({ text: "c" }, { key: "b", ifKeyExists: "keep" })
          ]),
          watching
        )
        assert.deepStrictEqual(
          saved.map(({ key, name }) => [name, key]),
          [
            ["draft", "a"],
            ["blob", undefined],
            ["draft", "b"],
            ["draft", "b"]
          ]
        )
        assert.strictEqual(saved[2]?.id, saved[3]?.id)
        assert.deepStrictEqual(seen, idsOf(saved).slice(0, 3))
        assert.strictEqual((yield* Checkpoint.list({ labels: { batch: "1" } })).length, 2)
        assert.deepStrictEqual(yield* Checkpoint.saveAll([]), [])

        const Whole = Checkpoint.make("whole", { schema: Schema.Int })
        const error = yield* Effect.flip(Checkpoint.saveAll([Draft.entry({ text: "x" }), Whole.entry(1.5)]))
        assert.strictEqual(error._tag, "JournalError")
        assert.strictEqual((yield* store.snapshots({})).length, 3)
      }))

    test("in a step several saves are one transaction, and in a body each is found again", () =>
      Effect.gen(function* () {
        let bug = true
        const batch = (from: number) => Checkpoint.saveAll([Count.entry(from), Count.entry(from + 1)])
        const step = Step.make("step", { run: Effect.asVoid(Effect.orDie(batch(1))) })
        const W = Workflow.make("w", { success: Schema.Array(Schema.String) }, () =>
          Effect.gen(function* () {
            yield* step
            const saved = yield* Effect.orDie(batch(3))
            if (bug) yield* Effect.die("bug")
            return idsOf(saved)
          })
        )
        yield* Effect.exit(Workflow.execute(W, { id: "1" }))
        bug = false
        const ids = yield* Workflow.execute(W, { id: "1" })
        assert.deepStrictEqual(yield* statesOf(Count.stream({ run: "1" })), [4, 3, 2, 1])
        assert.deepStrictEqual(idsOf(yield* Count.list({ run: "1", limit: 2 })), [...ids].reverse())
      }))

    test("a step replaces its own checkpoint of a key, a body keeps each", () =>
      Effect.gen(function* () {
        const W = Workflow.make("w", {}, () =>
          Effect.gen(function* () {
            yield* Step.make("step", {
              run: Effect.forEach([1, 2], (i) => Effect.orDie(Count.save(i, { key: "k" })), { discard: true })
            })
            yield* Effect.orDie(Count.save(3, { key: "k" }))
            yield* Effect.orDie(Count.save(4, { key: "k" }))
          })
        )
        yield* Count.save(0, { key: "k" })
        yield* Workflow.execute(W, { id: "1" })
        assert.deepStrictEqual(yield* statesOf(Count.stream({ run: "any" })), [4, 3, 2, 0])
      }))

    test("lists and streams return all, in the asked order", () =>
      Effect.gen(function* () {
        const all = Array.from({ length: 250 }, (_, i) => i)
        yield* Checkpoint.saveAll(
          all.map((i) =>
            Count.entry(i, { key: String(999 - i), labels: { odd: String(i % 2) }, metadata: { i, half: i < 125 } })
          )
        )
        const down = [...all].reverse()
        assert.strictEqual((yield* Count.list()).length, 250)
        assert.strictEqual((yield* Checkpoint.list()).length, 250)
        assert.deepStrictEqual(yield* statesOf(Count.stream()), down)
        assert.deepStrictEqual(yield* statesOf(Count.stream({ order: "oldest", pageSize: 7 })), all)
        assert.deepStrictEqual(yield* statesOf(Count.stream({ order: "highestKey", pageSize: 100 })), all)
        assert.deepStrictEqual(yield* statesOf(Count.stream({ order: "lowestKey", pageSize: 250 })), down)
        assert.deepStrictEqual(yield* statesOf(Count.stream({ limit: 3, pageSize: 2 })), [249, 248, 247])
        assert.deepStrictEqual(yield* statesOf(Count.stream({ before: { key: "0752" } })), [])
        assert.deepStrictEqual(yield* statesOf(Count.stream({ before: { key: "752" } })), [249, 248])
        assert.deepStrictEqual(yield* statesOf(Count.stream({ after: { key: "997" } })), [1, 0])
        assert.deepStrictEqual(
          yield* statesOf(Count.stream({ metadata: { half: true }, labels: { odd: "1" }, limit: 2 })),
          [123, 121]
        )
        const [newest] = yield* Count.list({ metadata: { i: 100 } })
        assert.deepStrictEqual(
          yield* statesOf(Count.stream({ after: newest?.id, order: "oldest", limit: 2 })),
          [101, 102]
        )
        assert.deepStrictEqual(yield* statesOf(Count.stream({ before: newest?.id, limit: 1 })), [99])
        assert.deepStrictEqual(yield* Count.list({ before: "nonsense" }), [])
        assert.deepStrictEqual(yield* Count.list({ after: "nonsense" }), [])
        assert.strictEqual(Option.getOrThrow(yield* Count.latest({ order: "highestKey" })).state, 0)
      }))

    test("a stream fails at a checkpoint that is not valid", (store) =>
      Effect.gen(function* () {
        const info = yield* Count.save(1)
        const found = Option.getOrThrow(yield* store.snapshot(Number(info.id)))
        yield* store.save({ ...found, state: "2" }, {})
        yield* Count.save(3)
        const seen: Array<number> = []
        const error = yield* Count.stream().pipe(
          Stream.runForEach(({ state }) => Effect.sync(() => seen.push(state))),
          Effect.flip
        )
        assert.strictEqual(error._tag, "CheckpointInvalid")
        assert.deepStrictEqual(seen, [3])
      }))

    test("in the body of a workflow a stream and a removal are repeated as they were", () =>
      Effect.gen(function* () {
        let bug = true
        yield* Count.save(1)
        const W = Workflow.make("w", { success: Schema.Array(Schema.Number) }, () =>
          Effect.gen(function* () {
            yield* Effect.orDie(Count.save(2))
            const states = yield* Effect.orDie(statesOf(Count.stream({ run: "any" })))
            const removed = yield* Effect.orDie(Count.remove({ run: "other" }))
            if (bug) yield* Effect.die("bug")
            return [...states, removed]
          })
        )
        yield* Effect.exit(Workflow.execute(W, { id: "1" }))
        bug = false
        yield* Count.save(3)
        assert.deepStrictEqual(yield* Workflow.execute(W, { id: "1" }), [2, 1, 0])
      }))

    test("removes by id and by condition, and refuses to remove everything", () =>
      Effect.gen(function* () {
        const one = yield* Count.save(1, { labels: { author: "ada" } })
        yield* Draft.save({ text: "" }, { labels: { author: "ada" }, key: "k", metadata: { draft: true } })
        const two = yield* Count.save(2, { labels: { author: "bob" } })
        const W = Workflow.make("w", {}, () =>
          Effect.asVoid(Effect.orDie(Count.save(9, { labels: { author: "ada" } })))
        )
        yield* Workflow.execute(W, { id: "1" })
        assert.strictEqual(yield* Draft.remove(one.id), 0)
        assert.strictEqual(yield* Count.remove("nonsense"), 0)
        for (const nothing of [{}, { labels: {} }, { metadata: {}, rewound: true }, { name: "count" }]) {
          for (const remove of [Checkpoint.remove(nothing), Count.remove(nothing)]) {
            const error = yield* Effect.flip(remove)
            assert.strictEqual(error._tag, "InvalidOption")
            assert.match(error.message, /give an id, or at least one of/)
          }
        }
        const unset = { labels: { author: undefined as unknown as string } }
        assert.strictEqual((yield* Effect.flip(Checkpoint.remove(unset)))._tag, "InvalidOption")
        assert.strictEqual((yield* Checkpoint.list()).length, 4)
        assert.strictEqual(yield* Count.remove(two.id), 1)
        assert.strictEqual(yield* Draft.remove({ metadata: { draft: false } }), 0)
        assert.strictEqual(yield* Checkpoint.remove({ labels: { author: "ada" } }), 2)
        // Checkpoints of runs are removed only if the removal names the run.
        assert.strictEqual((yield* Checkpoint.list()).length, 1)
        assert.strictEqual(yield* Checkpoint.remove({ run: "1", labels: { author: "ada" } }), 1)
      }))

    test("keeps a number of them for each value of a label", () =>
      Effect.gen(function* () {
        const Kept = Checkpoint.make("kept", { schema: Schema.Number, retention: { keep: 2, per: ["thread"] } })
        for (let i = 0; i < 12; i++) yield* Kept.save(i, { labels: { thread: String(i % 3), i: String(i) } })
        for (let i = 12; i < 15; i++) yield* Kept.save(i)
        assert.deepStrictEqual(yield* statesOf(Kept.stream()), [14, 13, 12, 11, 10, 9, 8, 7, 6])
        assert.strictEqual(yield* Checkpoint.cleanup({ name: "kept", keep: 1, per: ["thread"] }), 3)
        assert.deepStrictEqual(yield* statesOf(Kept.stream()), [14, 13, 12, 11, 10, 9])
      }))

    test("a retention by age removes the oldest, however many are newer", () =>
      Effect.gen(function* () {
        const Aged = Checkpoint.make("aged", { schema: Schema.Number, retention: { maxAge: "1 minute" } })
        yield* Aged.save(0)
        yield* TestClock.adjust("2 minutes")
        yield* Effect.forEach(
          Array.from({ length: 150 }, (_, i) => i),
          (i) => Count.save(i),
          { discard: true }
        )
        yield* Aged.save(1)
        assert.deepStrictEqual(yield* statesOf(Aged.stream()), [1])
      }))

    test("removes as a list in memory would", () =>
      Effect.gen(function* () {
        const label = FastCheck.constantFrom("a", "b", "c")
        const saves = FastCheck.array(FastCheck.record({ key: FastCheck.option(label), x: label, y: label }), {
          minLength: 30,
          maxLength: 30
        })
        const [given = []] = FastCheck.sample(saves, { seed: 7, numRuns: 1 })
        let model: Array<{
          readonly id: string
          readonly key: string | null
          readonly labels: Record<string, string>
        }> = []
        for (const { key, x, y } of given) {
          const { id } = yield* Count.save(0, { labels: { x, y }, key: key ?? undefined })
          model = model.filter((other) => key === null || other.key !== key)
          model.push({ id, key, labels: { x, y } })
        }
        const expected = (labels: Record<string, string>) =>
          model
            .filter((one) => Object.entries(labels).every(([name, value]) => one.labels[name] === value))
            .map(({ id }) => id)
        for (const x of ["a", "b", "c"]) {
          for (const y of ["a", "b", "c"]) {
            assert.deepStrictEqual(idsOf(yield* Count.list({ labels: { x, y }, order: "oldest" })), expected({ x, y }))
          }
        }
        assert.strictEqual(yield* Count.remove({ labels: { x: "a" } }), expected({ x: "a" }).length)
        model = model.filter(({ labels }) => labels["x"] !== "a")
        assert.deepStrictEqual(idsOf(yield* Count.list({ order: "oldest" })), expected({}))
        assert.deepStrictEqual(idsOf(yield* Count.list({ labels: { y: "b" }, order: "oldest" })), expected({ y: "b" }))
      }))

    test("cleanup reads many checkpoints once", (store) =>
      Effect.gen(function* () {
        let reads = 0
        const counted: Storage.Store = {
          ...store,
          snapshots: (query) => Effect.tap(store.snapshots(query), () => Effect.sync(() => reads++))
        }
        yield* Effect.forEach(Array.from({ length: 3 }), () =>
          Checkpoint.saveAll(Array.from({ length: 1_000 }, (_, i) => Count.entry(i)))
        )
        const storage = yield* Storage.make(counted, { owner: "reader" })
        const cleanup = (retention: Checkpoint.Retention) =>
          Effect.provideService(Checkpoint.cleanup(retention), Storage.Storage, storage)
        assert.strictEqual(yield* cleanup({ keep: 3_000 }), 0)
        assert.isAtMost(reads, 4)
        reads = 0
        assert.strictEqual(yield* cleanup({ maxAge: "1 day" }), 0)
        assert.strictEqual(reads, 1)
        assert.strictEqual(yield* cleanup({ keep: 1 }), 2_999)
      }).pipe(Effect.scoped))
  })
}
