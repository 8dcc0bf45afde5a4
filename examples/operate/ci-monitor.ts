import * as http from "node:http"
import type { AddressInfo } from "node:net"
import { Effect, Layer, Runtime, Schema } from "effect"
import { Fault, Storage } from "effect-recovery"
import { Escalation, RecoveryManager } from "effect-recovery/operate"
import { PipelineRules } from "effect-recovery/rules"

/** What GitHub sends when a workflow has ended, as far as it is of interest. */
const WorkflowRun = Schema.parseJson(
  Schema.Struct({
    action: Schema.String,
    workflow_run: Schema.Struct({
      id: Schema.Number,
      name: Schema.String,
      head_sha: Schema.String,
      conclusion: Schema.NullOr(Schema.String)
    }),
    repository: Schema.Struct({ full_name: Schema.String })
  })
)

/** The two calls of GitHub's that are needed. Here, a GitHub that needs no network. */
export class GitHub extends Effect.Service<GitHub>()("GitHub", {
  sync: () => {
    const logs: Readonly<Record<number, string>> = {
      1: "npm ERR! network connection refused\n",
      2: "running flake8\nsrc/app.py:7: flake8 error: E501 line too long\n",
      3: "security vulnerability found\ndeployment blocked: deploy error\n"
    }
    const rerun: Array<number> = []
    return {
      rerun,
      logOf: (id: number) => Effect.succeed(logs[id] ?? ""),
      // The third one fails again, whatever is done.
      rerunFailedJobs: (id: number) =>
        Effect.suspend(() => (rerun.push(id) && id === 3 ? Effect.fail("it has failed again") : Effect.void))
    }
  }
}) {}

/** One failed run: put on record, classified from its log, recovered, and escalated if that does not help. */
const onWorkflowRun = (body: string) =>
  Effect.gen(function* () {
    const { action, repository, workflow_run } = yield* Schema.decode(WorkflowRun)(body)
    if (action !== "completed" || workflow_run.conclusion !== "failure") return "nothing to do"
    const github = yield* GitHub
    const failure = yield* RecoveryManager.report("", {
      // GitHub tells some things twice.
      id: `github-${workflow_run.id}`,
      labels: {
        repository: repository.full_name,
        commit: workflow_run.head_sha,
        job: workflow_run.name,
        run: `${workflow_run.id}`
      },
      log: yield* github.logOf(workflow_run.id)
    })
    const recovery = yield* RecoveryManager.initiate(failure.id, "retry")
    const { check } = yield* Escalation.Escalation
    const raised = recovery.status === "completed" ? [] : yield* check
    return `${failure.category} ${failure.severity}: ${recovery.status}${raised.map(({ level }) => `, ${level}`).join("")}`
  })

/** The address that GitHub would have. */
const server = Effect.gen(function* () {
  const runtime = yield* Effect.runtime<
    GitHub | Storage.Storage | RecoveryManager.RecoveryManager | Escalation.Escalation
  >()
  const answer = (body: string) => Runtime.runPromise(runtime)(Effect.either(onWorkflowRun(body)))
  const listening = http.createServer((request, response) => {
    const chunks: Array<Buffer> = []
    let size = 0
    request.on("data", (chunk: Buffer) => {
      size += chunk.length
      // All that a report of a failed run needs.
      if (size > 1_000_000) request.destroy()
      else chunks.push(chunk)
    })
    request.on("end", () => {
      answer(Buffer.concat(chunks).toString("utf8")).then((result) => {
        response.writeHead(result._tag === "Right" ? 200 : 400)
        response.end(result._tag === "Right" ? result.right : result.left.message)
      })
    })
  })
  yield* Effect.acquireRelease(
    Effect.async<void>((resume) => void listening.listen(0, "127.0.0.1", () => resume(Effect.void))),
    () => Effect.sync(() => listening.close())
  )
  return `http://127.0.0.1:${(listening.address() as AddressInfo).port}/`
})

const layer = Layer.unwrapEffect(
  Effect.map(GitHub, ({ rerunFailedJobs }) =>
    Layer.merge(
      RecoveryManager.layer({ actions: { retry: ({ labels }) => rerunFailedJobs(Number(labels.run)) } }),
      Escalation.layer({
        rules: [
          Escalation.rule({ threshold: 1, group: ({ severity }) => (severity === "critical" ? "critical" : "") })
        ],
        sinks: []
      })
    )
  )
).pipe(Layer.provideMerge(Layer.mergeAll(GitHub.Default, Storage.layerMemory, Fault.layer(...PipelineRules.rules))))

const ended = (id: number, conclusion: string) =>
  JSON.stringify({
    action: "completed",
    workflow_run: { id, name: "ci", head_sha: "abc123", conclusion },
    repository: { full_name: "repo/name" }
  })

export const program = Effect.gen(function* () {
  const url = yield* server
  const post = (body: string) =>
    Effect.promise(async () => {
      const response = await fetch(url, { method: "POST", body })
      return response.status === 200 ? await response.text() : `refused: ${response.status}`
    })
  const bodies = [ended(1, "failure"), ended(2, "failure"), ended(3, "failure"), ended(4, "success"), "{"]
  const answers = yield* Effect.forEach(bodies, post)
  const { recoverySummary } = yield* RecoveryManager.dashboard("repo/name")
  return { answers, rerun: (yield* GitHub).rerun, successRate: recoverySummary.successRate }
}).pipe(Effect.scoped, Effect.provide(layer))
