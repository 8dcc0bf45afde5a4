/**
 * B8: locks and atomic writes of files, against proper-lockfile,
 * write-file-atomic and atomically: one lock without contention, one that four
 * processes want all the time, files that are replaced at three levels of
 * durability, and a lock whose holder was killed, wanted by twenty at once.
 */
import * as childProcess from "node:child_process"
import * as events from "node:events"
import * as fs from "node:fs"
import * as path from "node:path"
import * as readline from "node:readline"
import { fileURLToPath } from "node:url"
import { writeFile } from "atomically"
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Option from "effect/Option"
import lockfile from "proper-lockfile"
import writeFileAtomic from "write-file-atomic"
import { AtomicFile, DirectoryLock, FileLock } from "../../dist/node/files.js"
import { Lock } from "../../dist/node/index.js"
import { goal, interleave, seconds, temporaryFolder } from "../harness.mjs"

/** Many short ones: their median forgives a disk that is busy for a moment. */
const rounds = 15
/** Of what takes seconds. */
const longRounds = 5

const program = fileURLToPath(new URL("./b8-child.mjs", import.meta.url))

const kinds = { FileLock, DirectoryLock }

const ignore = () => {}

/** Microseconds each of so many takes. */
const microsOf = (count, run) => async () => ((await seconds(run)) * 1e6) / count

const inFiber = (count, runtime, effect) => {
  const all = Effect.repeatN(effect, count - 1)
  return microsOf(count, () => runtime.runPromise(all))
}

const awaited = (count, f) =>
  microsOf(count, async () => {
    for (let i = 0; i < count; i++) await f()
  })

/** A child process that answers each line with a line. */
const start = (engine, folder) => {
  const child = childProcess.spawn(process.execPath, [program, engine, folder], { stdio: ["pipe", "pipe", "inherit"] })
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    ask: async (line) => {
      child.stdin.write(`${line}\n`)
      return (await lines.next()).value
    },
    close: () => child.stdin.end(),
    kill: async () => {
      const ended = events.once(child, "exit")
      child.kill("SIGKILL")
      await ended
    }
  }
}

const cycles = async () => {
  const count = 200
  const folder = temporaryFolder()
  const file = path.join(folder, "locked")
  fs.writeFileSync(file, "")
  const runtimes = Object.entries(kinds).map(([kind, { layer }]) => [
    kind,
    ManagedRuntime.make(layer({ folder: path.join(folder, kind) }))
  ])
  const peer = (options) =>
    awaited(count, async () => {
      const release = await lockfile.lock(file, options)
      await release()
    })
  const micros = await interleave(
    {
      ...Object.fromEntries(
        runtimes.map(([kind, runtime]) => [kind, inFiber(count, runtime, Lock.withLock(Effect.void, "bench"))])
      ),
      "proper-lockfile": peer({ realpath: false }),
      "proper-lockfile, realpath": peer({})
    },
    rounds
  )
  for (const [, runtime] of runtimes) await runtime.dispose()
  fs.rmSync(folder, { recursive: true, force: true })
  return micros
}

const processes = 4
const increments = 1_000

/** Children are started once, and idle while others are measured. */
const contenders = (engine) => {
  const folder = temporaryFolder()
  const counter = path.join(folder, "counter")
  const children = Array.from({ length: processes }, () => start(engine, folder))
  const waits = []
  return {
    waits,
    measure: async () => {
      fs.writeFileSync(counter, "0")
      const started = performance.now()
      const longest = await Promise.all(children.map((child) => child.ask(increments / processes)))
      const millis = performance.now() - started
      const counted = fs.readFileSync(counter, "utf8")
      if (counted !== String(increments)) throw new Error(`${engine} counted ${counted} of ${increments}`)
      waits.push(Math.max(...longest.map(Number)))
      return millis
    },
    close: () => {
      for (const child of children) child.close()
      fs.rmSync(folder, { recursive: true, force: true })
    }
  }
}

const contention = async () => {
  const engines = [...Object.keys(kinds), "proper-lockfile"].map((engine) => [engine, contenders(engine)])
  const millis = await interleave(
    Object.fromEntries(engines.map(([engine, { measure }]) => [engine, measure])),
    longRounds
  )
  for (const [, { close }] of engines) close()
  // A waiter is overtaken by the process that has just released: the whole time alone would hide for how long.
  return Object.fromEntries(
    engines.map(([engine, { waits }]) => [engine, { ...millis[engine], longestWait: Math.max(...waits.slice(1)) }])
  )
}

const sizes = [
  { name: "4 KB", bytes: 4 * 1024, count: 50 },
  { name: "1 MiB", bytes: 1024 * 1024, count: 10 }
]

const levels = [
  { name: "no fsync", durability: "process-crash", fsync: false },
  { name: "fsync", durability: "ordered", fsync: true },
  { name: "fsync + folder fsync", durability: "power-loss", fsync: true, folder: true }
]

/** What the peers leave to a caller that wants a rename to survive a power cut. */
const syncFolder = async (folder) => {
  const handle = await fs.promises.open(folder, "r")
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

const writes = async ({ bytes, count }, level) => {
  const folder = temporaryFolder()
  const text = "lorem ipsum ".repeat(bytes / 12 + 1).slice(0, bytes)
  const at = (name) => {
    const file = path.join(folder, name)
    fs.writeFileSync(file, text)
    return file
  }
  // Options are made for each call, since write-file-atomic keeps in them what it has found out about the file.
  const peer = (write) =>
    awaited(count, async () => {
      await (level.fsync ? write() : write({ fsync: false }))
      if (level.folder) await syncFolder(folder)
    })
  const [own, forWriteFileAtomic, forAtomically] = ["ours", "write-file-atomic", "atomically"].map(at)
  const micros = await interleave(
    {
      ours: inFiber(count, Effect, AtomicFile.write(own, text, { durability: level.durability })),
      "write-file-atomic": peer((options) => writeFileAtomic(forWriteFileAtomic, text, options)),
      atomically: peer((options) => writeFile(forAtomically, text, options))
    },
    rounds
  )
  fs.rmSync(folder, { recursive: true, force: true })
  return micros
}

const racers = 20

/** All of them try at once, and the process that gets the lock keeps it until the last one has tried. */
const race = async (attempt) => {
  let left = racers
  let holders = 0
  // For ever, if no process gets it: that happens too, when two remove the lock of the holder that died.
  let millis = Number.POSITIVE_INFINITY
  const tried = new events.EventEmitter()
  const all = events.once(tried, "all")
  const answer = () => {
    if (--left === 0) tried.emit("all")
  }
  const started = performance.now()
  const hold = async () => {
    if (++holders === 1) millis = performance.now() - started
    answer()
    await all
  }
  await Promise.all(Array.from({ length: racers }, (_, i) => attempt(i, hold, answer)))
  return { holders, millis }
}

/** A racer has a service of its own, as it would have in a process of its own. */
const ownRacers = (kind) => {
  const folder = temporaryFolder()
  const runtimes = Array.from({ length: racers }, () => ManagedRuntime.make(kinds[kind].layer({ folder })))
  return {
    race: async () => {
      await Promise.all(runtimes.map((runtime) => runtime.runtime()))
      const holder = start(kind, folder)
      await holder.ask("hold")
      await holder.kill()
      return race(async (i, hold, answer) => {
        const held = await runtimes[i].runPromise(Lock.withLockIfAvailable(Effect.promise(hold), "bench"))
        if (Option.isNone(held)) answer()
      })
    },
    close: async () => {
      for (const runtime of runtimes) await runtime.dispose()
      fs.rmSync(folder, { recursive: true, force: true })
    }
  }
}

const peerRacers = () => {
  const folder = temporaryFolder()
  let races = 0
  return {
    race: async () => {
      // A new one each time: a racer that failed may still be removing the last one.
      const file = path.join(folder, `locked-${++races}`)
      const lock = `${file}.lock`
      // As a holder leaves it that died a minute ago.
      fs.mkdirSync(lock)
      const past = new Date(Date.now() - 60_000)
      fs.utimesSync(lock, past, past)
      const options = { realpath: false, stale: 5_000, onCompromised: ignore }
      return race(async (_, hold, answer) => {
        const release = await lockfile.lock(file, options).catch(answer)
        if (release === undefined) return
        await hold()
        // Of two holders one finds that the other one has given it back.
        await release().catch(ignore)
      })
    },
    close: () => fs.rmSync(folder, { recursive: true, force: true })
  }
}

const takeover = async () => {
  const engines = [...Object.keys(kinds).map((kind) => [kind, ownRacers(kind)]), ["proper-lockfile", peerRacers()]]
  const holders = Object.fromEntries(engines.map(([engine]) => [engine, []]))
  const candidates = engines.map(([engine, { race }]) => [
    engine,
    async () => {
      const raced = await race()
      holders[engine].push(raced.holders)
      return raced.millis
    }
  ])
  const millis = await interleave(Object.fromEntries(candidates), longRounds)
  for (const [, { close }] of engines) await close()
  return Object.fromEntries(engines.map(([engine]) => [engine, { ...millis[engine], holders: holders[engine] }]))
}

const rangeOf = (values) => [...new Set([Math.min(...values), Math.max(...values)])].join(" to ")

const atMost = (what, ours, peer, name) => goal(`${what}, time to ${name}'s`, ours.median / peer.median, { atMost: 1 })

export const run = async () => {
  const table = [["", "median", ""]]
  const rows = (what, measured, unit, digits, note = () => "") => {
    for (const [name, value] of Object.entries(measured)) {
      table.push([`${what}: ${name}`, `${value.median.toFixed(digits)} ${unit}`, note(value)])
    }
  }
  const goals = []
  const values = { writes: {} }

  values.cycle = await cycles()
  rows("lock cycle", values.cycle, "µs", 0)
  goals.push(atMost("lock cycle: FileLock", values.cycle.FileLock, values.cycle["proper-lockfile"], "proper-lockfile"))

  values.contention = await contention()
  const { FileLock: contended, "proper-lockfile": peer } = values.contention
  rows("1,000 increments", values.contention, "ms", 0, ({ longestWait }) => `waited up to ${longestWait.toFixed(0)} ms`)
  goals.push(atMost("1,000 increments by four processes: FileLock", contended, peer, "proper-lockfile"))

  for (const size of sizes) {
    for (const level of levels) {
      const what = `${size.name}, ${level.name}`
      const { ours, ...peers } = await writes(size, level)
      values.writes[what] = { ours, ...peers }
      rows(what, values.writes[what], "µs", 0)
      const [faster, time] = Object.entries(peers).sort(([, a], [, b]) => a.median - b.median)[0]
      goals.push(atMost(`${what}: AtomicFile`, ours, time, faster))
    }
  }

  values.takeover = await takeover()
  rows("takeover", values.takeover, "ms", 1, ({ holders }) => `${rangeOf(holders)} of ${racers} hold it`)
  for (const kind of Object.keys(kinds)) {
    const { holders } = values.takeover[kind]
    goals.push(
      goal(
        `takeover of a ${kind}: holders of ${racers} racers beyond one`,
        Math.max(...holders.map((n) => Math.abs(n - 1))),
        {
          atMost: 0,
          unit: "in all"
        }
      )
    )
  }
  return { title: "B8  locks and atomic writes of files", table, goals, values }
}
