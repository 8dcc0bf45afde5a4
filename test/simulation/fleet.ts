import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import { Storage, Worker, Workflow } from "effect-recovery"
import { makeService, settingsOf } from "../../src/durable/internal/worker/service.js"
import { Connection, type Link } from "./network.js"
import { Placing, type PlacingOptions } from "./placing.js"
import { Machine, Process } from "./process.js"
import { Go, type Plan, resultOf, workflowsOf } from "./program.js"
import { Server, type ServerOptions } from "./server.js"
import { cancel, Dice, type Event, Timeline } from "./timeline.js"
import { Watch } from "./watch.js"

export interface FleetOptions {
  readonly seed: number
  readonly concurrency: number
  /** Milliseconds, as all times here. */
  readonly sweep: number
  readonly lease: number
  readonly patience: number
  readonly drain: number
  readonly server: ServerOptions
  readonly link: Link
  /** The store tells processes what others change, as Postgres does. */
  readonly hasNews: boolean
  /** The only worker has the store for itself. */
  readonly isPrivate: boolean
  /** From a crash until the server ends the leases of the dead process; without it they expire. */
  readonly deathNotice: number | undefined
  /** How far the clock of a process is ahead, by its number. */
  readonly skew: (process: number) => number
  readonly isChecked: boolean
  readonly isRecorded: boolean
  /** A cluster says which worker should have which runs. */
  readonly placing?: PlacingOptions | undefined
  /** Changes the store that a process sees: to plant a fault. */
  readonly plant?: ((store: Storage.Store, fleet: Fleet) => Storage.Store) | undefined
}

/** A run that is to be started, at a time after the start of the simulation. */
export interface PlannedRun {
  readonly id: string
  readonly at: number
  readonly plan: Plan
  /** For each operation that waits for a signal: when that is sent. */
  readonly signals: ReadonlyArray<{ readonly after: "start" | "reached"; readonly delay: number }>
}

interface Member {
  readonly process: Process
  readonly connection: Connection
  readonly versions: ReadonlyArray<string>
  readonly leave: Deferred.Deferred<void>
  storage: Storage.Service | undefined
}

/** The start of all simulations: a time of day. */
export const beginning = 1_700_000_000_000

const again = Schedule.spaced("250 millis")

/** Workers and a client over one store, in one time. */
export class Fleet {
  readonly timeline = new Timeline(beginning)
  readonly machine = new Machine(this.timeline)
  readonly dice: Dice
  readonly server: Server
  readonly watch: Watch
  readonly store: Storage.Store = Storage.memoryStore()
  readonly members: Array<Member> = []
  readonly options: FleetOptions
  private readonly planned = new Map<string, PlannedRun>()
  private readonly placing: Placing | undefined
  private readonly client: Member
  private names = 0

  constructor(options: FleetOptions) {
    this.options = options
    this.dice = new Dice(options.seed)
    this.server = new Server(this.machine, options.server, new Dice(options.seed + 1))
    const { isChecked, isPrivate, isRecorded, link, sweep } = options
    // A look that fails is repeated after a sweep. Without failures a private store is looked at when something is due.
    const bound = 50 + (isPrivate ? (link.loss === 0 ? 0 : sweep + link.timeout) : sweep)
    this.watch = new Watch(this.machine, { bound, isChecked, isRecorded }, (run) => this.rowOf(run))
    // A worker that gains or loses shards looks anew.
    const moved = (process: Process) => this.watch.disturbed(process)
    const { placing, seed } = options
    this.placing = placing && new Placing(this.timeline, new Dice(seed + 2), placing, moved)
    this.client = options.isPrivate ? this.startWorker() : this.startClient()
  }

  // ---- processes

  private join(prefix: string, versions: ReadonlyArray<string>): Member {
    const { dice } = this
    const { hasNews, link } = this.options
    const number = ++this.names
    const process = new Process(this.machine, `${prefix}-${number}`, this.options.skew(number))
    const others = hasNews ? () => this.members.map(({ connection }) => connection) : undefined
    const own = new Dice(dice.whole(0, 2 ** 31))
    const connection = new Connection(this.machine, this.server, own, process, link, this.watch, this.store, others)
    const leave = Deferred.unsafeMake<void>(FiberId.none)
    const member = { process, connection, versions, leave, storage: undefined }
    this.members.push(member)
    return member
  }

  /** Runs in the process until the member leaves, with a Storage service of its own. */
  private live(member: Member, setUp: Effect.Effect<unknown, unknown, Storage.Storage>): Member {
    const { isPrivate, lease, plant } = this.options
    const { connection, leave, process } = member
    const seen = plant === undefined ? connection.store : plant(connection.store, this)
    const storage = Storage.make(seen, { owner: process.name, lease, isPrivate })
    const whole = Effect.gen(function* () {
      const made = yield* storage
      yield* Effect.provideService(setUp, Storage.Storage, made)
      member.storage = made
      yield* Deferred.await(leave)
    })
    const ended = Effect.sync(() => this.remove(member))
    process.fork(Effect.ensuring(Effect.ignore(Effect.scoped(whole)), ended))
    return member
  }

  private remove(member: Member): void {
    member.process.crash()
    this.placing?.leave(member.process)
    this.members.splice(this.members.indexOf(member), 1)
  }

  private startClient(): Member {
    return this.live(this.join("client", []), Effect.void)
  }

  startWorker(versions: ReadonlyArray<string> = ["1"]): Member {
    const { concurrency, drain, patience, sweep } = this.options
    const member = this.join("worker", versions)
    const { process } = member
    const world = { reached: (run: string, operation: number) => this.reached(run, operation) }
    const workflows = versions.flatMap((version) => {
      const { Child, Flow } = workflowsOf(version, world)
      return [Child, Flow]
    })
    const { placing } = this
    const owns = (run: string) => placing === undefined || placing.owns(process, run)
    this.watch.addWorker(process, concurrency, owns)
    const settings = { concurrency, sweep, patience, drain }
    const runner = placing?.join(process)
    const worker =
      runner === undefined
        ? Layer.build(Worker.layer(workflows, settings))
        : Effect.map(
            makeService("a simulation", workflows, [], { ...settingsOf(settings), placement: runner.placement }),
            ({ state }) => {
              runner.look = state.look
            }
          )
    // It needs the storage, which the scope of the process provides.
    return this.live(member, worker as Effect.Effect<unknown, unknown, Storage.Storage>)
  }

  /** The process ends at once. Its connections break, or the server learns of it when its leases end. */
  crash(member: Member): void {
    if (member.process.isDead) return
    const { deathNotice } = this.options
    this.watch.note(`${member.process.name} crashes`)
    this.watch.out(member.process, true)
    this.remove(member)
    const owners = this.watch.tallies.get(member.process)?.owners ?? new Set()
    if (deathNotice === undefined) return
    this.timeline.after(deathNotice * (0.75 + this.dice.next()), () => {
      for (const owner of owners) {
        const exit = this.server.perform(this.store.release(owner))
        this.watch.happened(member.process, "release", [owner], exit)
      }
      // The process that ended the leases tells the others.
      if (this.options.hasNews) for (const { connection } of this.members) connection.hearAny()
    })
  }

  pause(member: Member, millis: number): void {
    this.watch.note(`${member.process.name} stands still for ${millis}`)
    this.watch.disturbed(member.process)
    member.process.pause()
    this.timeline.after(millis, () => member.process.goOn())
  }

  cut(member: Member, millis: number): void {
    this.watch.note(`${member.process.name} is cut off for ${millis}`)
    this.watch.disturbed(member.process)
    member.connection.cutUntil = this.timeline.now + millis
  }

  leave(member: Member): void {
    this.watch.note(`${member.process.name} leaves`)
    this.watch.out(member.process, false)
    member.process.enter(() => Deferred.unsafeDone(member.leave, Effect.void))
  }

  get workers(): ReadonlyArray<Member> {
    return this.members.filter(({ versions }) => versions.length > 0)
  }

  // ---- runs

  plan(run: PlannedRun, version: () => string): void {
    this.planned.set(run.id, run)
    this.timeline.at(beginning + run.at, () => this.start(run, version()))
  }

  private start({ id, plan, signals }: PlannedRun, version: string): void {
    const { Flow } = workflowsOf(version, { reached: () => {} })
    const started = Effect.sync(() => {
      for (const [i, { after, delay }] of signals.entries()) if (after === "start") this.send(id, i + 1, delay)
    })
    this.act(Effect.zipRight(Workflow.start(Flow, { id, input: { id, plan } }), started), `start ${id}`)
  }

  private readonly sent = new Set<string>()

  private send(id: string, operation: number, delay: number): void {
    const what = `signal ${id} ${operation}`
    if (this.sent.has(what)) return
    this.sent.add(what)
    this.timeline.after(delay, () => this.act(Go.send(id, operation, { id: String(operation) }), what))
  }

  private reached(id: string, operation: number): void {
    const signal = this.planned.get(id)?.signals[operation - 1]
    if (signal?.after === "reached") this.send(id, operation, signal.delay)
  }

  /** Something that the client does, until it succeeds. */
  private act(effect: Effect.Effect<unknown, unknown, Storage.Storage>, what: string): void {
    const { client, watch } = this
    const { storage } = client
    if (storage === undefined) return void this.timeline.after(1, () => this.act(effect, what))
    watch.note(what)
    const provided = Effect.provideService(effect, Storage.Storage, storage)
    client.process.enter(() => client.process.fork(Effect.retry(provided, again)))
  }

  // ---- the end

  /** Until all runs have ended, or for so long. Returns the faults that were seen. */
  async run(limit: number): Promise<ReadonlyArray<string>> {
    const { planned, watch } = this
    let isLate = false
    const end: Event = this.timeline.at(beginning + limit, () => {
      isLate = true
    })
    const isOver = () => isLate || (watch.ended === planned.size && watch.open === 0)
    const ended = await this.machine.run(isOver)
    cancel(end)
    if (!ended) watch.fault("nothing can happen any more")
    if (isLate) for (const { id } of planned.values()) this.checkEnded(id)
    for (const run of planned.values()) this.checkOutcome(run)
    return watch.faults
  }

  /** Reads the store, past the network. */
  readonly peek = <A, E>(read: (store: Storage.Store) => Effect.Effect<A, E>): A | undefined => {
    const exit = this.server.perform(read(this.store))
    return Exit.isSuccess(exit) ? exit.value : undefined
  }

  private rowOf(id: string): Storage.Run | undefined {
    const found = this.peek((store) => store.find(id))
    return found && Option.getOrUndefined(found)
  }

  private checkEnded(id: string): void {
    const row = this.rowOf(id)
    if (row?.outcome === undefined) {
      this.watch.fault(`run ${id} has not ended: ${JSON.stringify(row ?? "it was never started")}`)
    }
  }

  private checkOutcome({ id, plan }: PlannedRun): void {
    const outcome = this.rowOf(id)?.outcome
    if (outcome === undefined) return
    const wanted = String(resultOf(plan))
    if (outcome.status !== "completed" || !outcome.exit.includes(wanted)) {
      this.watch.fault(`run ${id} ended as ${JSON.stringify(outcome)} and not with ${wanted}`)
    }
  }
}
