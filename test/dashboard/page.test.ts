import * as fs from "node:fs"
import { createServer } from "node:http"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { RetryPolicy, Signal, Step, type Storage, Strategy, Workflow } from "effect-recovery"
import { Dashboard } from "effect-recovery/dashboard"
import { Escalation, Insights, RecoveryManager } from "effect-recovery/operate"
import { SqliteStorage } from "effect-recovery/sqlite"
import { temporaryFolder } from "../support/files.js"
import { browser, isSkipped, on, open, serve } from "../support/pages.js"

/** Stands in every text that comes from a program. */
const hostile = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`

class Declined extends Schema.TaggedError<Declined>()("Declined", {}) {
  override get message() {
    return `The card was declined ${hostile}`
  }
}

const world = { isUp: false, isDeclined: true }

const prepare = Step.make("prepare", {
  error: Declined,
  run: () => (world.isUp ? Effect.void : new Declined()),
  recover: { Declined: Strategy.retry(RetryPolicy.fixed({ delay: "20 millis", maxRetries: 1 })) }
})
const pay = Step.make("pay", {
  error: Declined,
  run: () => (world.isDeclined ? new Declined() : Effect.void),
  recover: { Declined: Strategy.manual({ question: `Charge again? ${hostile}`, to: hostile }) }
})
const Order = Workflow.make("order", { error: Schema.Union(Declined, Schema.Unknown) }, () =>
  Effect.zipRight(prepare(), pay())
)

const Approval = Signal.make("approval", Schema.Struct({ by: Schema.NonEmptyString }))
const Publish = Workflow.make("publish", { success: Schema.String }, () =>
  Effect.map(Approval.wait({ id: "chapter 1" }), ({ by }) => by)
)
const Done = Workflow.make("done", {}, () => Effect.void)

const layerOf = (database: string) =>
  Layer.mergeAll(
    Insights.layer,
    RecoveryManager.layer({ workflows: [Order] }),
    Escalation.layer({ rules: [Escalation.rule({ threshold: 1 })], sinks: [] })
  ).pipe(Layer.provideMerge(SqliteStorage.layer({ filename: database })))

type All = Layer.Layer.Success<ReturnType<typeof layerOf>> | Scope.Scope

const test = (name: string, body: (database: string) => Effect.Effect<void, unknown, All>) =>
  it.live(
    name,
    () =>
      Effect.flatMap(temporaryFolder, (folder) => {
        const database = path.join(folder, "recovery.db")
        world.isUp = false
        world.isDeclined = true
        return Effect.provide(body(database), layerOf(database))
      }).pipe(Effect.scoped),
    60_000
  )

const settled = Effect.flatMap(Insights.Insights, ({ settled }) => settled)
const execute = (id: string): Effect.Effect<unknown, never, Storage.Storage> =>
  Effect.exit(Workflow.execute(Order, { id, labels: { repository: hostile } }))

describe.skipIf(isSkipped)("the page", () => {
  test("shows a run live: it fails, recovers, asks, is answered and completes", (database) =>
    Effect.gen(function* () {
      const { link } = yield* serve(database)
      const page = yield* open(yield* browser, link)
      yield* on(page, (page) => page.getByText("Live").waitFor())
      yield* on(page, (page) => page.getByRole("link", { name: "Runs" }).click())
      yield* on(page, (page) => page.getByText("No runs yet.").waitFor())
      yield* execute("order-1")
      yield* settled
      yield* on(page, (page) => page.getByRole("link", { name: "order-1", exact: true }).click())
      yield* on(page, (page) => page.getByRole("heading", { name: "Run order-1" }).waitFor())
      yield* on(page, (page) => page.locator(".gantt rect.bad").nth(1).waitFor())
      yield* on(page, (page) => page.getByText("All events (4)").click())
      yield* on(page, (page) => page.locator(".moments").getByText("Attempt failed").waitFor())
      // The run resumes and asks; the page updates by itself.
      world.isUp = true
      yield* Effect.exit(RecoveryManager.initiate((yield* RecoveryManager.failures({}))[0]?.id ?? "", "retry"))
      yield* on(page, (page) => page.getByRole("heading", { name: "Charge again?" }).waitFor())
      yield* on(page, (page) => page.getByLabel("Note for the record").fill("a new card"))
      world.isDeclined = false
      yield* on(page, (page) => page.getByRole("button", { name: "Retry" }).click())
      yield* on(page, (page) => page.getByText("Answer for order-1: retry").waitFor())
      yield* execute("order-1")
      yield* on(page, (page) => page.locator(".facts .chip.completed").first().waitFor())
      yield* on(page, (page) => page.getByRole("heading", { name: "Charge again?" }).waitFor({ state: "hidden" }))
    }))

  test("sends a signal as JSON, and says what does not fit", (database) =>
    Effect.gen(function* () {
      yield* Effect.flip(Workflow.execute(Publish, { id: "post-1" }))
      const { link } = yield* serve(database)
      const page = yield* open(yield* browser, `${link}`)
      yield* on(page, (page) => page.getByRole("link", { name: "Runs" }).click())
      yield* on(page, (page) => page.getByLabel("Open the run with this id").fill("post-1"))
      yield* on(page, (page) => page.keyboard.press("Enter"))
      yield* on(page, (page) => page.getByRole("heading", { name: "Waits for signal approval/chapter 1" }).waitFor())
      const value = page.getByLabel("Value as JSON")
      assert.strictEqual(yield* on(page, () => value.inputValue()), `{"by":""}`)
      const send = page.getByRole("button", { name: "Send approval/chapter 1" })
      yield* on(page, () => send.click())
      yield* on(page, (page) => page.getByText("expected at least 1 characters at by").waitFor())
      yield* on(page, () => value.fill(`{"by":"Ada"}`))
      yield* on(page, () => send.click())
      yield* on(page, (page) => page.getByText("The signal approval/chapter 1 is sent to post-1").waitFor())
      assert.strictEqual(yield* Workflow.execute(Publish, { id: "post-1" }), "Ada")
    }))

  test("holds, releases and terminates a run after a dialog that names what will happen", (database) =>
    Effect.gen(function* () {
      yield* Effect.flip(Workflow.execute(Publish, { id: "post-1" }))
      const { link } = yield* serve(database)
      const page = yield* open(yield* browser, link)
      yield* on(page, (page) => page.getByRole("link", { name: "Runs" }).click())
      yield* on(page, (page) => page.getByRole("link", { name: "post-1" }).click())
      yield* on(page, (page) => page.getByLabel("Reason for the record").fill("look first"))
      yield* on(page, (page) => page.getByRole("button", { name: "Hold run" }).click())
      yield* on(page, (page) => page.getByRole("dialog").getByText("No worker takes it").waitFor())
      yield* on(page, (page) => page.getByRole("button", { name: "Do it" }).click())
      yield* on(page, (page) => page.locator(".facts").getByText("look first").waitFor())
      yield* on(page, (page) => page.getByRole("button", { name: "Release run" }).click())
      yield* on(page, (page) => page.getByRole("button", { name: "Do it" }).click())
      yield* on(page, (page) => page.getByRole("button", { name: "Hold run" }).waitFor())
      yield* on(page, (page) => page.getByRole("button", { name: "Terminate run" }).click())
      yield* on(page, (page) => page.getByRole("button", { name: "Do nothing" }).click())
      assert.strictEqual((yield* Workflow.status("post-1")).status, "suspended")
      yield* on(page, (page) => page.getByRole("button", { name: "Terminate run" }).click())
      yield* on(page, (page) => page.getByRole("button", { name: "Do it" }).click())
      yield* on(page, (page) => page.locator(".facts .chip.cancelled").waitFor())
      assert.strictEqual((yield* Workflow.status("post-1")).status, "cancelled")
    }))

  test("finds runs by their labels and status, page by page, and shows why one failed", (database) =>
    Effect.gen(function* () {
      for (let i = 0; i < 51; i++) yield* Workflow.execute(Done, { id: `done-${i}`, labels: { tenant: "acme" } })
      yield* execute("order-1")
      const { link } = yield* serve(database)
      const page = yield* open(yield* browser, link)
      yield* on(page, (page) => page.getByRole("link", { name: "Runs" }).click())
      yield* on(page, (page) => page.locator("tr .about").getByText("Declined").waitFor())
      yield* on(page, (page) => page.getByText("Filters").click())
      yield* on(page, (page) => page.getByLabel("Labels, as name=value").fill("tenant=acme"))
      yield* on(page, (page) => page.getByLabel("Status").selectOption("completed"))
      yield* on(page, (page) => page.getByRole("button", { name: "Show", exact: true }).click())
      yield* on(page, (page) => page.getByRole("row", { name: "order-1" }).waitFor({ state: "detached" }))
      assert.strictEqual(yield* on(page, (page) => page.getByLabel("Status").inputValue()), "completed")
      yield* on(page, (page) => page.getByRole("link", { name: "Next page" }).click())
      yield* on(page, (page) => page.getByRole("row", { name: "done-0" }).waitFor())
      assert.strictEqual(yield* on(page, (page) => page.locator("main tbody tr").count()), 1)
      yield* on(page, (page) => page.getByRole("link", { name: "First page" }).click())
      yield* on(page, (page) => page.getByRole("row", { name: "done-50" }).waitFor())
      yield* on(page, (page) => page.getByRole("link", { name: "Show all" }).click())
      yield* on(page, (page) => page.getByRole("row", { name: "order-1" }).waitFor())
    }))

  test("recovers a failure by a suggestion, and resolves an escalation", (database) =>
    Effect.gen(function* () {
      yield* execute("order-2")
      yield* settled
      yield* Effect.flatMap(Escalation.Escalation, ({ check }) => check)
      const { link } = yield* serve(database)
      const page = yield* open(yield* browser, link)
      yield* on(page, (page) => page.getByRole("link", { name: "Failures 1" }).click())
      yield* on(page, (page) => page.locator("main a.row").click())
      // Without the workflow the page cannot execute a run, and says so before it asks.
      yield* on(page, (page) => page.getByRole("button", { name: "Recover: retry" }).click())
      yield* on(page, (page) => page.locator("#notices").getByText("Its workflow is unknown").waitFor())
      yield* on(page, (page) => page.getByRole("button", { name: "Close: fixed by hand" }).click())
      yield* on(page, (page) => page.locator(".facts .chip.resolved").waitFor())
      yield* on(page, (page) => page.getByRole("link", { name: "Escalations" }).click())
      yield* on(page, (page) => page.getByRole("button", { name: "Acknowledge" }).click())
      yield* on(page, (page) => page.locator(".chip.acknowledged").waitFor())
      yield* on(page, (page) => page.getByRole("button", { name: "Resolve" }).click())
      yield* on(page, (page) => page.getByText("No open escalations.").waitFor())
      assert.strictEqual((yield* Escalation.list())[0]?.status, "resolved")
    }))

  test("shows the plan of a recovery, and begins it when it is confirmed", () =>
    Effect.gen(function* () {
      yield* execute("order-3")
      yield* settled
      const server = NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 })
      const here = Dashboard.layer({ page: pathToFileURL(`${path.resolve("dist/dashboard/page")}/`) })
      const { link } = Context.get(yield* Layer.build(Layer.provide(here, server)), Dashboard.Dashboard)
      const page = yield* open(yield* browser, Redacted.value(link))
      yield* on(page, (page) => page.getByRole("link", { name: "Failures 1" }).click())
      yield* on(page, (page) => page.locator("main a.row").click())
      const press = (name: string) => on(page, (page) => page.getByRole("button", { name }).click())
      yield* press("Recover: retry")
      yield* on(page, (page) => page.getByText("It is retry 1 of 3.").waitFor())
      const text = yield* on(page, (page) => page.locator("#confirm-text").textContent())
      assert.deepStrictEqual(text?.split("\n"), [
        "retry?",
        "It works on run order-3.",
        `Goes back to step "prepare".`,
        "Runs again: prepare.",
        "It is retry 1 of 3."
      ])
      yield* press("Do nothing")
      const begun = (yield* RecoveryManager.recoveries()).filter(({ by }) => by === "manager")
      assert.deepStrictEqual(begun, [])
      world.isUp = true
      world.isDeclined = false
      yield* press("Recover: retry")
      yield* press("Do it")
      yield* on(page, (page) => page.locator("#notices").getByText("retry has begun").waitFor())
      yield* on(page, (page) => page.locator(".facts .chip.resolved").waitFor())
    }))

  test("can be used by keyboard, and keeps typed text while the page updates", (database) =>
    Effect.gen(function* () {
      yield* execute("first")
      world.isUp = true
      yield* execute("second")
      yield* settled
      const { link } = yield* serve(database)
      const page = yield* open(yield* browser, link)
      yield* on(page, (page) => page.locator(".tile").first().waitFor())
      yield* on(page, (page) => page.keyboard.press("2"))
      yield* on(page, (page) => page.getByRole("heading", { name: "Runs, newest first" }).waitFor())
      yield* on(page, (page) => page.keyboard.press("j"))
      yield* on(page, (page) => page.keyboard.press("j"))
      yield* on(page, (page) => page.keyboard.press("k"))
      yield* on(page, (page) => page.keyboard.press("Enter"))
      yield* on(page, (page) => page.getByRole("heading", { name: "Run second" }).waitFor())
      yield* on(page, (page) => page.getByLabel("Note for the record").focus())
      yield* on(page, (page) => page.keyboard.type("jk?"))
      yield* execute("third")
      yield* on(page, (page) => page.getByRole("link", { name: "third", exact: true }).waitFor())
      yield* on(page, (page) => page.keyboard.type("!"))
      const note = yield* on(page, (page) => page.getByLabel("Note for the record").inputValue())
      assert.strictEqual(note, "jk?!")
      yield* on(page, (page) => page.getByLabel("Note for the record").blur())
      yield* on(page, (page) => page.keyboard.press("Backspace"))
      yield* on(page, (page) => page.getByRole("heading", { name: "Run second" }).waitFor({ state: "hidden" }))
      yield* on(page, (page) => page.keyboard.press("?"))
      yield* on(page, (page) => page.getByRole("heading", { name: "Keys" }).waitFor())
      yield* on(page, (page) => page.keyboard.press("Escape"))
      const scheme = () =>
        on(page, (page) => page.evaluate("getComputedStyle(document.documentElement).colorScheme") as Promise<string>)
      yield* on(page, (page) => page.keyboard.press("t"))
      assert.strictEqual(yield* scheme(), "dark")
      yield* on(page, (page) => page.keyboard.press("t"))
      assert.strictEqual(yield* scheme(), "light")
    }))

  test("fits the width of a phone", (database) =>
    Effect.gen(function* () {
      yield* execute(`order-${"x".repeat(120)}`)
      world.isUp = true
      yield* execute("asks")
      yield* settled
      yield* Effect.flatMap(Escalation.Escalation, ({ check }) => check)
      const { link } = yield* serve(database)
      const page = yield* open(yield* browser, link, { viewport: { width: 360, height: 740 } })
      yield* on(page, (page) => page.locator(".tile").first().waitFor())
      const paths = ["", "runs", "runs/asks", "failures", "questions", "escalations"]
      for (const view of paths) {
        yield* on(page, (page) => page.evaluate(`location.hash = "#/${view}"`))
        yield* on(page, (page) => page.locator("main > *").first().waitFor())
        const width = yield* on(
          page,
          (page) => page.evaluate("document.documentElement.scrollWidth") as Promise<number>
        )
        assert.isAtMost(width, 360, view)
      }
    }))

  test("asks for the token, and refuses a wrong one", (database) =>
    Effect.gen(function* () {
      const { link, url } = yield* serve(database)
      const page = yield* on(yield* browser, (browser) => browser.newPage())
      yield* on(page, (page) => page.goto(`${url}/#token=wrong`))
      yield* on(page, (page) => page.getByRole("heading", { name: "Enter the token" }).waitFor())
      assert.strictEqual(yield* on(page, (page) => page.locator(".tile").count()), 0)
      yield* on(page, (page) => page.getByLabel("Token").fill(link.replace(/^.*token=/, "")))
      yield* on(page, (page) => page.getByRole("button", { name: "Open" }).click())
      yield* on(page, (page) => page.locator(".tile").first().waitFor())
      // The address bar does not keep the token.
      assert.notInclude(page.url(), "token")
    }))

  test("a read-only page shows everything without buttons", (database) =>
    Effect.gen(function* () {
      world.isUp = true
      yield* execute("asks")
      yield* settled
      const copy = `${database}.copy`
      fs.copyFileSync(database, copy)
      if (fs.existsSync(`${database}-wal`)) fs.copyFileSync(`${database}-wal`, `${copy}-wal`)
      const bytes = fs.readFileSync(copy)
      const { link } = yield* serve(copy, "--read-only")
      const page = yield* open(yield* browser, link)
      yield* on(page, (page) => page.getByText("(read only)").waitFor())
      yield* on(page, (page) => page.keyboard.press("4"))
      yield* on(page, (page) => page.getByRole("heading", { name: "Charge again?" }).waitFor())
      assert.strictEqual(yield* on(page, (page) => page.locator("main button").count()), 0)
      assert.deepStrictEqual(bytes, fs.readFileSync(copy))
    }))

  test("a redraw keeps the keyboard focus, also between similar questions", (database) =>
    Effect.gen(function* () {
      const ask = (name: string) =>
        Step.make(name, {
          error: Declined,
          run: () => new Declined(),
          recover: { Declined: Strategy.manual(`${name}?`) }
        })
      const Two = Workflow.make("two", { error: Schema.Union(Declined, Schema.Unknown) }, () =>
        Effect.all([ask("a")(), ask("b")()], { concurrency: 2, discard: true })
      )
      yield* Effect.exit(Workflow.execute(Two, { id: "two" }))
      const { link } = yield* serve(database)
      const page = yield* open(yield* browser, link)
      yield* on(page, (page) => page.keyboard.press("4"))
      const second = page.locator("section", { hasText: "b?" })
      yield* on(second, (second) => second.getByRole("button", { name: "Skip" }).focus())
      yield* Effect.exit(Workflow.execute(Order, { id: "another" }))
      yield* settled
      yield* on(page, (page) => page.getByRole("link", { name: "Failures 1" }).waitFor())
      yield* on(page, (page) => page.keyboard.press("Enter"))
      yield* on(page, (page) => page.getByText("Answer for two: skip").waitFor())
      const { waits } = yield* Workflow.status("two")
      assert.deepStrictEqual(
        waits.filter(({ status }) => status === "answered").map(({ about }) => about),
        []
      )
      yield* Effect.exit(Workflow.execute(Two, { id: "two" }))
      const answered = yield* Effect.map(Workflow.status("two"), ({ waits }) =>
        waits.filter(({ status }) => status === "answered")
      )
      assert.deepStrictEqual(
        answered.map(({ about }) => about),
        ["b?"]
      )
    }))

  test("shows a missing record once it exists, and drops errors of pages that were left", (database) =>
    Effect.gen(function* () {
      yield* RecoveryManager.report("timeout", { id: "f1" })
      const { link } = yield* serve(database)
      const page = yield* open(yield* browser, link)
      const go = (hash: string) => on(page, (page) => page.evaluate(`location.hash = ${JSON.stringify(hash)}`))
      yield* on(page, (page) => page.locator(".tile").first().waitFor())
      yield* go("#/failures/f2")
      yield* on(page, (page) => page.getByText("No failure on record has the id").waitFor())
      yield* RecoveryManager.report("network error", { id: "f2" })
      yield* on(page, (page) => page.getByRole("heading", { name: "Failure f2" }).waitFor())
      assert.strictEqual(yield* on(page, (page) => page.getByText("No failure on record has the id").count()), 0)
      yield* go("#/failures/nope")
      yield* go("#/failures/f1")
      yield* on(page, (page) => page.getByRole("heading", { name: "Failure f1" }).waitFor())
      assert.strictEqual(yield* on(page, (page) => page.getByText("No failure on record has the id").count()), 0)
      yield* go("#/recoveries/r")
      yield* on(page, (page) => page.getByText("No recovery on record has the id").waitFor())
      yield* on(page, (page) => page.keyboard.press("Backspace"))
      yield* on(page, (page) => page.locator(".tile").first().waitFor())
      yield* go("#/runs/%")
      yield* on(page, (page) => page.locator(".trouble").waitFor())
    }))

  test("opens and closes a record whatever its id", (database) =>
    Effect.gen(function* () {
      const ids = ["..", "~", "a/b?c#d%2e;e", "İ 日本 👩‍👩‍👧", "x".repeat(4_096), "語".repeat(4_096)]
      const { link } = yield* serve(database)
      const page = yield* open(yield* browser, link)
      yield* on(page, (page) => page.locator(".tile").first().waitFor())
      for (const id of ids) {
        yield* RecoveryManager.report("timeout", { id })
        yield* on(page, (page) =>
          page.evaluate(`location.hash = "#/failures/" + encodeURIComponent(${JSON.stringify(id)})`)
        )
        yield* on(page, (page) => page.getByRole("heading", { name: `Failure ${id}`, exact: true }).waitFor())
        yield* on(page, (page) => page.getByRole("button", { name: "Close: fixed by hand" }).click())
        yield* on(page, (page) => page.getByText(`${id} is resolved.`).waitFor())
        assert.strictEqual((yield* RecoveryManager.failure(id)).status, "resolved")
      }
    }))
})
