import * as fs from "node:fs"
import { fileURLToPath } from "node:url"
import { defineConfig, type MarkdownRenderer } from "vitepress"
import { doorsOf } from "../api.mjs"

const root = fileURLToPath(new URL("../../", import.meta.url))
const { version } = JSON.parse(fs.readFileSync(new URL("../../package.json", import.meta.url), "utf8"))
const repository = "https://github.com/effect-recovery/effect-recovery"

/** A group of the sidebar. None is collapsible: the theme would nest one button in another. */
const group = (text: string, pages: ReadonlyArray<readonly [text: string, link: string]>) => ({
  text,
  items: pages.map(([text, link]) => ({ text, link }))
})

/**
 * A header cell without text becomes a plain cell, since readers of screens announce headers. Indented code becomes a fence, which
 * the theme makes reachable by keyboard, so that it can be scrolled.
 */
const accessible = (md: MarkdownRenderer) => {
  md.core.ruler.push("accessible", ({ tokens }) => {
    for (const [i, token] of tokens.entries()) {
      if (token.type === "code_block") Object.assign(token, { type: "fence", tag: "code", info: "text", markup: "```" })
      if (token.type !== "th_open" || tokens[i + 1]?.content !== "") continue
      token.tag = "td"
      const close = tokens[i + 2]
      if (close !== undefined) close.tag = "td"
    }
  })
}

const start = group("Start", [
  ["Ten minutes", "/start"],
  ["The guide on one page", "/GUIDE"],
  ["Examples", "/examples"]
])

const concepts = group("Concepts", [
  ["Runs, steps and the journal", "/concepts/runs"],
  ["Replay and determinism", "/concepts/replay"],
  ["Leases and fencing", "/concepts/leases"],
  ["Ambiguity: at least once", "/concepts/ambiguity"],
  ["Transactions", "/concepts/transactions"],
  ["Failures and decisions", "/concepts/failures"]
])

const guides = [
  group("Retry and protect", [
    ["Policies and their order", "/policies/"],
    ["Classify failures", "/policies/faults"],
    ["Retry", "/policies/retry"],
    ["Retry budgets", "/policies/retry-budget"],
    ["Circuit breakers", "/policies/circuit-breaker"],
    ["Breakers of many processes", "/policies/shared-breaker"],
    ["Bulkheads", "/policies/bulkhead"],
    ["Timeouts", "/policies/timeout"],
    ["Rate limits and hedging", "/policies/rate-limit-and-hedging"],
    ["Recover by tag", "/policies/recovery"],
    ["Failover", "/policies/failover"],
    ["All in one call", "/policies/recoverable"],
    ["Policies as layers", "/policies/recovery-policy"],
    ["Observe", "/policies/observing"]
  ]),
  group("Durable workflows", [
    ["Execution", "/durable/execution"],
    ["Storage", "/durable/storage"],
    ["Sagas and transactions", "/durable/transactions"],
    ["Approvals and signals", "/durable/hand-over"],
    ["Workers and versions", "/durable/workers"],
    ["On a cluster", "/durable/cluster"],
    ["Deploys", "/durable/deploys"],
    ["Queues", "/durable/queues"],
    ["Schedules", "/durable/schedules"],
    ["Checkpoints and state", "/durable/checkpoints"],
    ["Graphs", "/durable/graphs"],
    ["An agent of a language model", "/durable/agents"],
    ["Chains of a language model", "/durable/chains"],
    ["Test", "/durable/testing"],
    ["Test against crashes", "/durable/crashes"]
  ]),
  group("Files", [
    ["Locks", "/files/locks"],
    ["Files that are never torn", "/files/files"],
    ["Transactions over files", "/files/transactions"]
  ]),
  group("Operate", [
    ["Production", "/operate/production"],
    ["Databases and Postgres", "/operate/databases"],
    ["Recoveries", "/operate/recoveries"],
    ["Insights", "/operate/insights"],
    ["Escalation", "/operate/escalation"],
    ["Dashboard", "/operate/dashboard"],
    ["Secrets", "/operate/secrets"],
    ["Any command", "/operate/exec"]
  ])
]

const reference = group("Reference", [
  ["Errors by tag", "/reference/errors"],
  ["Options", "/reference/options"],
  ["Metrics, events, spans", "/policies/observing"],
  ["Command line", "/operate/cli"],
  ["Runtimes", "/reference/runtimes"],
  ["Versions", "/reference/versions"],
  ["Changelog", "/changelog"],
  ["API", "/api/"]
])

const comingFrom = group("Coming from", [
  ["Effect.retry", "/coming-from/effect-retry"],
  ["p-retry", "/coming-from/p-retry"],
  ["cockatiel", "/coming-from/cockatiel"],
  ["@effect/workflow", "/durable/stock-workflows"],
  ["Temporal", "/coming-from/temporal"],
  ["DBOS", "/coming-from/dbos"]
])

const why = group("Why", [
  ["Promises and their tests", "/why/promises"],
  ["Architecture", "/ARCHITECTURE"],
  ["Benchmarks", "/BENCHMARKS"],
  ["Scale", "/SCALE"],
  ["Limits", "/why/limits"],
  ["FAQ", "/FAQ"]
])

const guide = [start, concepts, ...guides, reference, comingFrom, why]

const api = [
  { text: "API", link: "/api/" },
  ...doorsOf(root).map(
    ({ door, modules, slug }: { door: string; modules: ReadonlyArray<{ module: string }>; slug: string }) =>
      group(
        door,
        modules.map(({ module }) => [module, slug === "main" ? `/api/${module}` : `/api/${slug}/${module}`] as const),
        slug !== "main"
      )
  )
]

export default defineConfig({
  srcDir: ".pages",
  title: "effect-recovery",
  description: "Recovery for Effect: typed retry and error handling, durable workflows that survive a kill",
  lang: "en",
  // Where the site is served: SITE_BASE=/effect-recovery/ for a folder of a host.
  base: process.env.SITE_BASE ?? "/",
  // A link to a page or file that is not there fails the build. Anchors are checked by check.mjs.
  ignoreDeadLinks: false,
  metaChunk: true,
  markdown: {
    theme: { light: "github-light-high-contrast", dark: "github-dark-high-contrast" },
    anchor: { level: [2, 3, 4] },
    config: accessible
  },
  // The theme gives the first page no landmark for its content.
  transformHtml: (html) => html.replace('<div class="VPContent is-home"', '<div role="main" class="VPContent is-home"'),
  vite: { build: { chunkSizeWarningLimit: 4000 } },
  themeConfig: {
    search: { provider: "local", options: { detailedView: true } },
    outline: [2, 3],
    nav: [
      { text: "Start", link: "/start" },
      { text: "Guides", link: "/GUIDE", activeMatch: "^/(policies|durable|files|operate)/" },
      { text: "Reference", link: "/reference/errors", activeMatch: "^/(reference|api)/" },
      { text: "Coming from", link: "/coming-from/effect-retry" },
      { text: "Why", link: "/why/promises" },
      { text: version, link: "/changelog" }
    ],
    sidebar: { "/api/": api, "/": guide },
    socialLinks: [{ icon: "github", link: repository }],
    docFooter: { prev: "Previous", next: "Next" }
  }
})
