/**
 * The process that gets killed. It executes the run and reports every event as
 * a line of JSON; it does not know whether it was started before.
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Events, Workflow } from "effect-recovery"
import { SqliteStorage } from "effect-recovery/sqlite"
import { Release } from "./release.js"
import { toLine } from "./report.js"

const [id = "", filename = "", folder = "", url = ""] = process.argv.slice(2)

const program = Workflow.execute(Release, { id, input: { folder, url } })

const live = Layer.mergeAll(
  SqliteStorage.layer({ filename }),
  FetchHttpClient.layer,
  NodeContext.layer,
  Events.layer((event) => Console.log(toLine(event)))
)

NodeRuntime.runMain(Effect.provide(program, live))
