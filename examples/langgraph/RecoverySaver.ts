import type { RunnableConfig } from "@langchain/core/runnables"
import * as Graph from "@langchain/langgraph-checkpoint"
import { Chunk, type Effect, Predicate, Record, Runtime, Schema, Stream } from "effect"
import { Checkpoint, type Storage } from "effect-recovery"

// Bytes from LangGraph's serializer. The kind of each is the type that the serializer needs to read it.
const Saved = Checkpoint.make("langgraph", { schema: Schema.Uint8ArrayFromSelf })
const Channel = Checkpoint.make("langgraph/channel", { schema: Schema.Uint8ArrayFromSelf })
const Write = Checkpoint.make("langgraph/write", { schema: Schema.Uint8ArrayFromSelf })
/** One key of several parts. Keys sort by their first part. */
const keyOf = (...parts: ReadonlyArray<unknown>) => JSON.stringify(parts)
const labelsOf = (thread: string, ns: string, parent?: string) =>
  Record.filter({ "langgraph/thread": thread, "langgraph/ns": ns, "langgraph/parent": parent }, Predicate.isString)
const placeOf = ({ configurable: at = {} }: RunnableConfig) => {
  if (at.thread_id === undefined) throw new Error(`The config has no "configurable.thread_id".`)
  return { thread: at.thread_id, ns: at.checkpoint_ns ?? "", id: at.checkpoint_id }
}

/** A checkpointer of LangGraph over any storage of effect-recovery. */
export class RecoverySaver extends Graph.BaseCheckpointSaver {
  readonly runtime: Runtime.Runtime<Storage.Storage>
  constructor(runtime: Runtime.Runtime<Storage.Storage>, serde?: Graph.SerializerProtocol) {
    super(serde)
    this.runtime = runtime
  }

  async getTuple({ configurable: at }: RunnableConfig): Promise<Graph.CheckpointTuple | undefined> {
    if (at?.thread_id === undefined) return undefined
    const configurable = { ...at, checkpoint_ns: at.checkpoint_ns ?? "" }
    for await (const newest of this.list({ configurable }, { limit: 1 })) return newest
  }

  async *list({ configurable: at = {} }: RunnableConfig, options: Graph.CheckpointListOptions = {}) {
    const query = { labels: labelsOf(at.thread_id, at.checkpoint_ns), metadata: options.filter, limit: options.limit }
    const key = at.checkpoint_id && keyOf(at.checkpoint_id, at.thread_id, at.checkpoint_ns)
    // Without its last character, a key is lower than all keys that begin with the same parts.
    const before = options.before && { key: keyOf(options.before.configurable?.checkpoint_id).slice(0, -1) }
    const found = Saved.stream({ ...query, key, before, order: "highestKey" })
    for await (const saved of Stream.toAsyncIterableRuntime(found, this.runtime)) yield await this.toTuple(saved)
  }

  async put(at: RunnableConfig, state: Graph.Checkpoint, about: Graph.CheckpointMetadata, next: Graph.ChannelVersions) {
    const { id: parent, ns, thread } = placeOf(at)
    const { channel_values: values, ...rest } = state
    const metadata = JSON.parse(new TextDecoder().decode((await this.serde.dumpsTyped(about))[1]))
    const labels = labelsOf(thread, ns)
    const changed = Object.entries(next).filter(([channel]) => Object.hasOwn(values, channel))
    const entries = changed.map(([channel, version]) =>
      this.entry(Channel, values[channel], keyOf(thread, ns, channel, version), { labels, metadata: { channel } })
    )
    const place = labelsOf(thread, ns, parent)
    entries.push(this.entry(Saved, rest, keyOf(state.id, thread, ns), { labels: place, metadata }))
    await this.run(Checkpoint.saveAll(await Promise.all(entries)))
    return { configurable: { thread_id: thread, checkpoint_ns: ns, checkpoint_id: state.id } }
  }

  async putWrites(config: RunnableConfig, writes: Array<Graph.PendingWrite>, task: string) {
    const { id, ns, thread } = placeOf(config)
    if (id === undefined) throw new Error(`The config has no "configurable.checkpoint_id".`)
    const labels = { "langgraph/thread": thread, "langgraph/checkpoint": keyOf(id, thread, ns) }
    const entries = writes.map(([channel, value], i) => {
      const index = Graph.WRITES_IDX_MAP[channel] ?? i
      const options = { labels, metadata: { task, channel }, ifKeyExists: index < 0 ? "replace" : "keep" } as const
      return this.entry(Write, value, keyOf(id, thread, ns, task, index), options)
    })
    await this.run(Checkpoint.saveAll(await Promise.all(entries)))
  }

  async deleteThread(thread: string) {
    await this.run(Checkpoint.remove({ labels: { "langgraph/thread": thread } }))
  }

  private run = <A, E>(effect: Effect.Effect<A, E, Storage.Storage>) => Runtime.runPromise(this.runtime)(effect)
  private entry = (of: typeof Saved, value: unknown, key: string, options: Checkpoint.SaveOptions) =>
    this.serde.dumpsTyped(value).then(([kind, bytes]) => of.entry(bytes, { ...options, key, kind }))
  private read = async ({ kind, metadata: { channel, task }, state }: Checkpoint.Restored<Uint8Array>) =>
    [String(task), String(channel), await this.serde.loadsTyped(kind, state)] as Graph.CheckpointPendingWrite
  private all = async (of: typeof Saved, query: Checkpoint.Query) =>
    Promise.all(Chunk.map(await this.run(Stream.runCollect(of.stream({ ...query, order: "oldest" }))), this.read))
  private async toTuple(saved: Checkpoint.Restored<Uint8Array>): Promise<Graph.CheckpointTuple> {
    const [id, thread, ns] = JSON.parse(saved.key ?? "[]")
    const parent = saved.labels["langgraph/parent"]
    const configOf = (id: string) => ({ configurable: { thread_id: thread, checkpoint_ns: ns, checkpoint_id: id } })
    const writesOf = (id: string) => this.all(Write, { labels: { "langgraph/checkpoint": keyOf(id, thread, ns) } })
    const checkpoint: Graph.Checkpoint = await this.serde.loadsTyped(saved.kind, saved.state)
    const versions = checkpoint.channel_versions
    const key = Object.entries(versions).map(([channel, version]) => keyOf(thread, ns, channel, version))
    checkpoint.channel_values = Object.fromEntries((await this.all(Channel, { key })).map(([, ...pair]) => pair))
    // Formats before the fourth keep what a checkpoint sends with the writes of its parent.
    if (checkpoint.v < 4 && parent !== undefined) {
      const sent = (await writesOf(parent)).filter(([, channel]) => channel === Graph.TASKS)
      checkpoint.channel_values[Graph.TASKS] = sent.map(([, , value]) => value)
      versions[Graph.TASKS] = Graph.maxChannelVersion(0, ...Object.values(versions)) || 1
    }
    const metadata = await this.serde.loadsTyped("json", JSON.stringify(saved.metadata))
    const tuple = { checkpoint, config: configOf(id), metadata, pendingWrites: await writesOf(id) }
    return parent === undefined ? tuple : { ...tuple, parentConfig: configOf(parent) }
  }
}
