import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Backup, FileLock } from "effect-recovery/files"
import { assignTask } from "../../examples/complete-task/assignTask.js"
import { completeTask } from "../../examples/complete-task/completeTask.js"
import { bundle, Child } from "../support/children.js"
import { temporaryFolder } from "../support/files.js"
import { treeOf } from "../support/tree.js"

const message = `it's "done" $(rm -rf /) \`x\`; {}\n\\ 'ü🙂`

const prepare = Effect.map(temporaryFolder, (folder) => {
  const root = fs.realpathSync(folder)
  fs.mkdirSync(path.join(root, "postbox/CC"), { recursive: true })
  const tasks = [
    { task_id: "TASK-1", status: "pending", priority: "HIGH" },
    { task_id: "../TASK/2", status: "pending" }
  ]
  write(root, "postbox/CC/outbox.json", { agent: "CC", tasks })
  return root
})

const write = (root: string, file: string, content: unknown) =>
  fs.writeFileSync(path.join(root, file), JSON.stringify(content))

const read = (root: string, file: string) => JSON.parse(fs.readFileSync(path.join(root, file), "utf8"))

const complete = (root: string, task: string, agent = "CC") =>
  Effect.suspend(() => completeTask(root, { agent, task, message })).pipe(
    Effect.provide(FileLock.layer({ folder: path.join(root, "locks") }))
  )

describe("examples/complete-task", () => {
  it.scopedLive("updates outbox, record and progress once, and keeps the message literally", () =>
    Effect.gen(function* () {
      const root = yield* prepare
      for (const expected of ["completed", "completed before", "completed before"]) {
        assert.strictEqual(yield* complete(root, "TASK-1"), expected)
      }
      const { tasks, ...rest } = read(root, "postbox/CC/outbox.json")
      assert.deepStrictEqual(rest, { agent: "CC" })
      const { completed_at, ...task } = tasks[0]
      assert.deepStrictEqual(task, {
        task_id: "TASK-1",
        status: "completed",
        priority: "HIGH",
        completion_message: message
      })
      assert.deepStrictEqual(read(root, "postbox/CC/completed/TASK-1_completion.json"), {
        task_id: "TASK-1",
        agent: "CC",
        completed_at,
        message
      })
      assert.strictEqual(tasks[1].status, "pending")
      assert.deepStrictEqual(read(root, "progress.json"), { CC: { completed: 1 } })
      assert.strictEqual(yield* complete(root, "../TASK/2"), "completed")
      assert.isTrue(fs.existsSync(path.join(root, "postbox/CC/completed/%2E%2E%2FTASK%2F2_completion.json")))
      const backups = yield* Backup.list(path.join(root, "postbox/CC/outbox.json"))
      assert.deepStrictEqual(
        backups.map(({ label }) => label),
        ["../TASK/2", "TASK-1"]
      )
    })
  )

  for (const [form, before, after] of [
    [
      "by agent",
      { CA: { completed: 2 }, CC: { completed: 3, since: "May" } },
      { CA: { completed: 2 }, CC: { completed: 4, since: "May" } }
    ],
    ["as a list", [{ agent: "CC", completed: 3, x: 1 }], [{ agent: "CC", completed: 4, x: 1 }]],
    [
      "as a list without the agent",
      [{ agent: "CA", completed: 3 }],
      [
        { agent: "CA", completed: 3 },
        { agent: "CC", completed: 1 }
      ]
    ]
  ] as const) {
    it.scopedLive(`counts progress that is kept ${form}`, () =>
      Effect.gen(function* () {
        const root = yield* prepare
        write(root, "progress.json", before)
        assert.strictEqual(yield* complete(root, "TASK-1"), "completed")
        assert.deepStrictEqual(read(root, "progress.json"), after)
      })
    )
  }

  it.scopedLive(
    "changes nothing if the progress file or the outbox is damaged, and completes the task once it is mended",
    () =>
      Effect.gen(function* () {
        const root = yield* prepare
        const tasks = treeOf(path.join(root, "postbox/CC"))
        fs.writeFileSync(path.join(root, "progress.json"), `{"CC":{"compl`)
        const torn = yield* Effect.flip(complete(root, "TASK-1"))
        assert.strictEqual(torn._tag, "ProgressDamaged")
        assert.match(torn.message, /progress\.json cannot be read.*nothing was changed/s)
        assert.strictEqual(fs.readFileSync(path.join(root, "progress.json"), "utf8"), `{"CC":{"compl`)
        assert.strictEqual(treeOf(path.join(root, "postbox/CC"))["outbox.json"], tasks["outbox.json"])
        assert.isFalse(fs.existsSync(path.join(root, "postbox/CC/completed")))
        write(root, "progress.json", { CC: { completed: 1 } })
        assert.strictEqual(yield* complete(root, "TASK-1"), "completed")
        assert.deepStrictEqual(read(root, "progress.json"), { CC: { completed: 2 } })
        fs.writeFileSync(path.join(root, "postbox/CC/outbox.json"), "{damaged")
        const before = treeOf(path.join(root, "postbox"))
        assert.strictEqual((yield* Effect.flip(complete(root, "../TASK/2")))._tag, "ParseError")
        assert.strictEqual((yield* Effect.flip(complete(root, "TASK-1", "..")))._tag, "FileError")
        assert.deepStrictEqual(treeOf(path.join(root, "postbox")), before)
      })
  )

  it.scopedLive("concurrent commands count each task once", () =>
    Effect.gen(function* () {
      const root = yield* prepare
      const ids = Array.from({ length: 6 }, (_, i) => `T-${i}`)
      write(root, "postbox/CC/outbox.json", { tasks: ids.map((task_id) => ({ task_id, status: "pending" })) })
      const program = yield* Effect.promise(() => bundle("../../examples/complete-task/main.ts"))
      // Each task twice, and an unknown task.
      const codes = yield* Effect.forEach(
        [...ids, ...ids, "nothing"],
        (id) => Effect.promise(() => new Child(program, [root, "CC", id, message]).exited),
        { concurrency: 4 }
      )
      assert.deepStrictEqual(codes, [...ids.map(() => 0), ...ids.map(() => 0), 1])
      assert.deepStrictEqual(read(root, "progress.json"), { CC: { completed: 6 } })
      assert.strictEqual(fs.readdirSync(path.join(root, "postbox/CC/completed")).length, 6)
      assert.strictEqual(yield* Effect.promise(() => new Child(program, [root]).exited), 1)
      // A torn progress file: the command fails, and the task is still to do.
      fs.writeFileSync(path.join(root, "progress.json"), "{")
      write(root, "postbox/CC/outbox.json", { tasks: [{ task_id: "T-9", status: "pending" }] })
      const torn = new Child(program, [root, "CC", "T-9", message])
      assert.strictEqual(yield* Effect.promise(() => torn.exited), 1)
      assert.match(torn.errors, /T-9: progress\.json cannot be read/)
      assert.strictEqual(read(root, "postbox/CC/outbox.json").tasks[0].status, "pending")
    })
  )

  it.scopedLive("concurrent assignments assign each task once", () =>
    Effect.gen(function* () {
      const root = fs.realpathSync(yield* temporaryFolder)
      const assign = (task: string, title = message) =>
        assignTask(root, { agent: "CC", task, title, priority: "HIGH" }).pipe(
          Effect.provide(FileLock.layer({ folder: path.join(root, "locks") }))
        )
      const tasks = Array.from({ length: 8 }, (_, i) => `TASK-${i}`)
      const outcomes = yield* Effect.forEach([...tasks, ...tasks], (task) => assign(task), { concurrency: "unbounded" })
      assert.deepStrictEqual(outcomes.filter((outcome) => outcome === "assigned").length, 8)
      const outbox = read(root, "postbox/CC/outbox.json")
      assert.deepStrictEqual(outbox.tasks.map(({ task_id }: { task_id: string }) => task_id).sort(), tasks)
      const { created_at, ...first } = outbox.tasks.find(({ task_id }: { task_id: string }) => task_id === "TASK-0")
      assert.deepStrictEqual(first, { task_id: "TASK-0", title: message, priority: "HIGH", status: "pending" })
      assert.match(created_at, /^\d{4}-/)
      assert.strictEqual(yield* complete(root, "TASK-0"), "completed")
    })
  )
})
