/**
 * B3: checkpoints of one state per second, saved and read back as the newest,
 * against LangGraph's SqliteSaver: WAL and synchronous=NORMAL for both, one
 * state in which 1 % changes from save to save. Ours checks its digest. Every
 * engine runs in a process of its own.
 */
import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as readline from "node:readline"
import { fileURLToPath } from "node:url"
import { goal, interleave, median, temporaryFolder } from "../harness.mjs"

const rounds = 5
const program = fileURLToPath(new URL("./b3-child.mjs", import.meta.url))

const sizes = [
  { name: "1 KB", items: 10, saves: 2_000, loads: 4_000, wanted: { save: 1.2, load: 2 } },
  { name: "100 KB", items: 1_050, saves: 200, loads: 300, wanted: { save: 2.5, load: 3.7 } }
]

const engines = ["ours", "langgraph"]

/** Lets a child measure: answers with how often per second, of the clock or of CPU time. */
const start = (engine, filename, cpu = {}) => {
  const child = childProcess.spawn(process.execPath, [program, engine, filename], {
    stdio: ["pipe", "pipe", "inherit"]
  })
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    perSecond: (what, items, count) => async () => {
      child.stdin.write(`${what} ${items} ${count}\n`)
      const [byClock, byCpu] = (await lines.next()).value.split(" ").map(Number)
      cpu[`${engine} ${what}`]?.push(byCpu)
      return byClock
    },
    close: () => child.stdin.end()
  }
}

const bytesOf = (folder, engine) =>
  fs
    .readdirSync(folder)
    .filter((name) => name.startsWith(engine))
    .reduce((bytes, name) => bytes + fs.statSync(path.join(folder, name)).size, 0)

const measure = async ({ items, loads, saves }) => {
  const folder = temporaryFolder()
  const names = engines.flatMap((engine) => [`${engine} save`, `${engine} load`])
  const cpu = Object.fromEntries(names.map((name) => [name, []]))
  const children = Object.fromEntries(
    engines.map((engine) => [engine, start(engine, path.join(folder, `${engine}.db`), cpu)])
  )
  const candidates = engines.flatMap((engine) => [
    [`${engine} save`, children[engine].perSecond("save", items, saves)],
    [`${engine} load`, children[engine].perSecond("load", items, loads)]
  ])
  const values = await interleave(Object.fromEntries(candidates), rounds)
  for (const child of Object.values(children)) child.close()
  fs.rmSync(folder, { recursive: true, force: true })
  // The first round warms up, as it does for the clock.
  const byCpu = Object.fromEntries(names.map((name) => [name, { median: median(cpu[name].slice(1)) }]))
  return { ...values, cpu: byCpu }
}

/** What 3,000 saves leave on disk. */
const disk = async ({ items }) => {
  const folder = temporaryFolder()
  const bytes = {}
  for (const engine of engines) {
    const child = start(engine, path.join(folder, `${engine}.db`))
    await child.perSecond("save", items, 3_000)()
    await child.perSecond("flush", items, 0)()
    child.close()
    bytes[engine] = bytesOf(folder, engine)
  }
  fs.rmSync(folder, { recursive: true, force: true })
  return bytes
}

export const run = async () => {
  const table = [["", "save /s of CPU", "load /s of CPU", "bytes after 3,000"]]
  const goals = []
  const values = {}
  for (const size of sizes) {
    const measured = await measure(size)
    const bytes = await disk(size)
    values[size.name] = { ...measured, bytes }
    for (const engine of engines) {
      const save = measured.cpu[`${engine} save`].median
      const load = measured.cpu[`${engine} load`].median
      const row = [save.toFixed(0), load.toFixed(0), `${(bytes[engine] / 1e6).toFixed(1)} MB`]
      table.push([`${size.name} ${engine === "ours" ? "ours" : "SqliteSaver"}`, ...row])
    }
    for (const what of ["save", "load"]) {
      const ratio = (of) => of[`ours ${what}`].median / of[`langgraph ${what}`].median
      // None of them waits for a disk: by the clock of a busy machine the one that it left alone would win.
      goals.push(goal(`${size.name}: ${what}s to SqliteSaver's`, ratio(measured.cpu), { atLeast: size.wanted[what] }))
      table.push([
        `${size.name}: ${what}s by the clock to SqliteSaver's`,
        ...["save", "load"].map((one) => (one === what ? `${ratio(measured).toFixed(2)}x` : "")),
        ""
      ])
    }
  }
  return { title: "B3  checkpoints of one thread, NORMAL, digest checked (ours)", table, goals, values }
}
