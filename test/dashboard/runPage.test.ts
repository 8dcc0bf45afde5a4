import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Queue, Recovery, Step, Storage, Strategy, Worker, Workflow } from "effect-recovery"
import { Insights, RecoveryManager } from "effect-recovery/operate"
import { SqliteStorage } from "effect-recovery/sqlite"
import type { Page } from "playwright-core"
import { temporaryFolder } from "../support/files.js"
import { browser, isSkipped, on, open, serve } from "../support/pages.js"

class Offline extends Schema.TaggedError<Offline>()("Offline", { host: Schema.String }) {
  override get message() {
    return `${this.host} does not answer`
  }
}

const fetchFrom = (host: string) => Step.make("fetch", { error: Offline, run: Effect.fail(new Offline({ host })) })
const mirror = Step.make("from/the mirror", { run: Effect.void })
const Fetch = Workflow.make("fetch", { error: Offline }, () =>
  Recovery.recover(fetchFrom("mirror-1"), { Offline: Strategy.alternate(() => mirror) })
)
const Poll = Workflow.make("poll", { input: Schema.Number }, (n, continueAs) =>
  n < 3 ? continueAs(n + 1) : Workflow.sleep("2 hours", { name: "next look" })
)
const Broken = Workflow.make("broken", { error: Offline }, () => fetchFrom("mirror-2"))
const Done = Workflow.make("done", {}, () => Effect.void)

const layerOf = (database: string) =>
  Layer.mergeAll(Insights.layer, RecoveryManager.layer({})).pipe(
    Layer.provideMerge(SqliteStorage.layer({ filename: database }))
  )

type All = Layer.Layer.Success<ReturnType<typeof layerOf>> | Scope.Scope

const test = (name: string, body: (database: string) => Effect.Effect<void, unknown, All>) =>
  it.live(
    name,
    () =>
      Effect.flatMap(temporaryFolder, (folder) => {
        const database = path.join(folder, "recovery.db")
        return Effect.provide(body(database), layerOf(database))
      }).pipe(Effect.scoped),
    60_000
  )

/** Opens a view of the page. */
const openAt = (database: string, address: string, width = 1_280) =>
  Effect.gen(function* () {
    const { link, url } = yield* serve(database)
    const page = yield* open(yield* browser, link, { viewport: { width, height: 900 } })
    yield* on(page, (page) => page.getByText("Live").waitFor())
    yield* on(page, (page) => page.goto(`${url}/${address}`))
    return page
  })

const sees = (page: Page, panel: string, text: string) =>
  on(page, (page) => {
    const section = page.locator("section.panel").filter({ has: page.getByRole("heading", { name: panel }) })
    return section.getByText(text).first().waitFor()
  })

describe.skipIf(isSkipped)("the page of a run", () => {
  test("shows what a recovery decided, and the failures of steps", (database) =>
    Effect.gen(function* () {
      yield* Workflow.execute(Fetch, { id: "fetch-1" })
      const page = yield* openAt(database, "#/runs/fetch-1")
      yield* sees(page, "Steps", "Offline: mirror-1 does not answer")
      yield* sees(page, "Decisions of recoveries", "take another value")
      yield* sees(page, "Decisions of recoveries", "mirror-1 does not answer")
      // Keys escape the punctuation of names.
      yield* sees(page, "Timeline", "from/the mirror")
      yield* sees(page, "Timeline", "recovery of fetch")
      yield* sees(page, "Steps", "from/the mirror")
    }))

  test("leads from a failed run to its open failure, where it is recovered", (database) =>
    Effect.gen(function* () {
      yield* Effect.exit(Workflow.execute(Broken, { id: "broken-1" }))
      const page = yield* openAt(database, "#/runs/broken-1")
      const { id } = yield* RecoveryManager.report(new Offline({ host: "mirror-2" }), { run: "broken-1" })
      yield* on(page, (page) => page.getByRole("link", { name: id }).click())
      yield* sees(page, `Failure ${id}`, "mirror-2 does not answer")
    }))

  test("shows which generation it is and since when, and leads to its parent and its children", (database) =>
    Effect.gen(function* () {
      yield* Effect.fork(Workflow.execute(Poll, { id: "poll-1", input: 1 }))
      const storage = yield* Storage.Storage
      const child = { workflow: "done", version: "1", input: "", labels: {} }
      yield* storage.enqueue({ ...child, id: "poll-1/ship", parent: { run: "poll-1", signal: "child:ship" } })
      const page = yield* openAt(database, "#/runs/poll-1")
      yield* on(page, (page) => page.getByText(/^3 since .*(second|minute|now)/).waitFor())
      yield* on(page, (page) => page.locator(".gantt").getByText("next look").waitFor())
      const panel = page.locator("section.panel").filter({ has: page.getByRole("heading", { name: "Child runs" }) })
      yield* on(page, () => panel.getByRole("link", { name: "poll-1/ship" }).click())
      yield* on(page, (page) => page.getByRole("heading", { name: "Run poll-1/ship" }).waitFor())
      yield* on(page, (page) => page.locator("dl.facts").getByRole("link", { name: "poll-1", exact: true }).click())
      yield* on(page, (page) => page.getByRole("heading", { name: "Run poll-1", exact: true }).waitFor())
    }))

  test("shows queues with their limits", (database) =>
    Effect.gen(function* () {
      const encode = Queue.make("encode", { concurrency: 2, rate: { limit: 100, per: "1 minute", perKey: true } })
      yield* Layer.build(Worker.layer([Done], { queues: [encode] }))
      yield* Workflow.start(Done, { id: "1", queue: Queue.make("thumbnails"), delay: "1 hour" })
      const page = yield* openAt(database, "#/queues")
      const cells = (name: string) =>
        on(page, (page) => {
          const row = page.getByRole("row", { name })
          return row
            .getByText(/limits|worker/)
            .first()
            .innerText()
        })
      assert.strictEqual(yield* cells("encode"), "limits: 2 at once, 100 starts in 60 s per key")
      assert.strictEqual(yield* cells("thumbnails"), "no worker yet")
    }))

  for (const width of [320, 400, 1_280]) {
    test(`fits ${width} pixels`, (database) =>
      Effect.gen(function* () {
        yield* Workflow.execute(Fetch, { id: `fetch-with-a-long-id-${"0123456789".repeat(4)}` })
        yield* Workflow.execute(Fetch, { id: "fetch-1" })
        const page = yield* openAt(database, "#/runs/fetch-1", width)
        yield* sees(page, "Decisions of recoveries", "take another value")
        for (const address of ["#/runs/fetch-1", "#/runs", "#/queues", "#/"]) {
          yield* on(page, (page) => page.goto(page.url().replace(/#.*/, address)))
          yield* on(page, (page) => page.locator("section.panel").first().waitFor())
          const hidden = yield* on(page, (page) =>
            page.$$eval("html, nav ul, .scroll", (all) =>
              all.filter((one) => one.scrollWidth > one.clientWidth).map((one) => `${one.tagName} ${one.className}`)
            )
          )
          assert.deepStrictEqual(hidden, [], address)
        }
      }))
  }
})
