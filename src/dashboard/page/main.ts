import { encodeId } from "../PathId.js"
import { listen, type Refusal, read, setToken, takeToken } from "./api.js"
import { byId, h, replace } from "./dom.js"
import { listenToKeys, restoreTheme, switchTheme } from "./keys.js"
import type { Overview, Pattern, Recovery, RunSummary } from "./model.js"
import { empty, panel } from "./parts.js"
import { escalations } from "./views/escalations.js"
import { failure, failures, type OpenFailure, patterns } from "./views/failures.js"
import { overview, recovery } from "./views/overview.js"
import { questions } from "./views/questions.js"
import { type OpenQueues, queues } from "./views/queues.js"
import { runs, runsQuery } from "./views/runList.js"
import { type OpenRun, run } from "./views/runs.js"

const views = ["", "runs", "failures", "questions", "escalations", "queues"]
const titles = ["Overview", "Runs", "Failures", "Questions", "Escalations", "Queues"]

interface Route {
  readonly view: string
  readonly id: string | undefined
  /** What the list shows. */
  readonly query: URLSearchParams
}

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

const routeOf = (hash: string): Route => {
  const [, view = "", id, query] = /^#\/([^/?]*)(?:\/([^?]+))?(?:\?(.*))?$/.exec(hash) ?? []
  return { view, id: id === undefined ? undefined : decoded(id), query: new URLSearchParams(query) }
}

let latest: Overview | undefined
let openRun: OpenRun = { status: undefined, timeline: undefined }
/** The runs that an address asks for; undefined until they are loaded. */
let openRuns: { readonly query: string; readonly found: ReadonlyArray<RunSummary> } | undefined
let openQueues: OpenQueues | undefined
let openFailure: OpenFailure | undefined
let openRecovery: Recovery | undefined
let openPatterns: ReadonlyArray<Pattern> = []
/** The latest error about the opened item. It is shown above the last known state. */
let trouble: { readonly about: string; readonly message: string } | undefined
/** The refusal of a request without the right token. Nothing is shown before the user enters it. */
let unauthorized: Refusal | undefined
let canAct = false
let isAboutLoaded = false
let listening = new AbortController()

const main = byId("main", HTMLElement)
const state = byId("state", HTMLElement)

const tabs = () => {
  const { view } = routeOf(location.hash)
  const counts: Readonly<Record<string, number | undefined>> = {
    failures: latest?.statistics.openFailures,
    questions: latest?.questions.length,
    escalations: latest?.escalations.length
  }
  const tab = (name: string, i: number) => {
    const count = counts[name] ?? 0
    const isHere = name === view || (name === "" && view === "recoveries")
    return h(
      "li",
      {},
      h(
        "a",
        { href: `#/${name}`, "data-key": `tab ${name}`, "aria-current": isHere ? "page" : undefined },
        titles[i],
        count > 0 && " ",
        count > 0 && h("span", { class: "count" }, count)
      )
    )
  }
  replace(byId("tabs", HTMLElement), ...views.map(tab))
}

const askForToken = ({ message }: Refusal) => {
  if (document.activeElement?.closest("form.token")) return
  const field = h("input", { type: "password", autocomplete: "off", required: true, "data-key": "token" })
  const submit = (event: Event) => {
    event.preventDefault()
    setToken(field.value.trim())
    start()
  }
  replace(
    main,
    panel(
      "Enter the token",
      h("p", {}, message),
      h("form", { submit, class: "token" }, h("label", {}, "Token", field), h("button", {}, "Open"))
    )
  )
}

/** A list, with the opened item beside it. */
const listAndItem = (list: Node, opened: ReadonlyArray<Node> | undefined): ReadonlyArray<Node> =>
  opened === undefined ? [list] : [h("div", { class: "beside" }, list, h("div", {}, ...opened))]

const contentOf = (overviewNow: Overview, { id, query, view }: Route): ReadonlyArray<Node> => {
  const isOpened = id !== undefined
  const loading = trouble === undefined ? [empty("Loading…")] : []
  const alert = trouble === undefined ? [] : [h("p", { class: "trouble", role: "alert" }, trouble.message)]
  switch (view) {
    case "runs": {
      const item = openRun.status === undefined ? loading : run(openRun, overviewNow.failures, canAct)
      const all = runsQuery(query) === undefined ? overviewNow.runs : openRuns?.found
      const list = all === undefined ? empty("Loading…") : runs(all, id, query)
      if (isOpened) return listAndItem(list, [...alert, ...item])
      return [...alert, list]
    }
    case "failures": {
      if (!isOpened) return [failures(overviewNow, id), patterns(openPatterns)]
      const item = openFailure === undefined ? loading : failure(openFailure, canAct)
      return listAndItem(failures(overviewNow, id), [...alert, ...item])
    }
    case "queues":
      return [...alert, ...(openQueues === undefined ? loading : queues(openQueues, canAct))]
    case "questions":
      return questions(overviewNow, canAct)
    case "escalations":
      return escalations(overviewNow, canAct)
    case "recoveries":
      if (!isOpened) return overview(overviewNow)
      return [...alert, ...(openRecovery === undefined ? loading : recovery(openRecovery))]
    default:
      return overview(overviewNow)
  }
}

/** Between pointer down and click the page is not redrawn, or the click would miss its target. */
let isPressed = false

const draw = () => {
  if (isPressed) return
  tabs()
  if (unauthorized !== undefined) askForToken(unauthorized)
  else if (latest !== undefined) replace(main, ...contentOf(latest, routeOf(location.hash)))
}

const failed = (about: string) => (error: unknown) => {
  trouble = { about, message: error instanceof Error ? error.message : String(error) }
  draw()
}

const clearTrouble = (about: string) => {
  if (trouble?.about === about) trouble = undefined
}

/** Loads what the open view shows beside the overview. */
const load = async (): Promise<void> => {
  const { hash } = location
  const { id, query, view } = routeOf(hash)
  const path = encodeId(id ?? "")
  /** Ignores the reply if the user has opened another view meanwhile. */
  const unlessLeft = <A>(reading: Promise<A>, show: (found: A) => void) =>
    reading.then(
      (found) => {
        if (location.hash !== hash) return
        clearTrouble("loading")
        show(found)
      },
      (error: unknown) => {
        if (location.hash === hash) failed("loading")(error)
      }
    )
  const wanted = view === "runs" ? runsQuery(query) : undefined
  if (wanted !== undefined) {
    await unlessLeft(read<"Runs">(`/runs?${wanted}`), (found) => {
      openRuns = { query: `${query}`, found }
    })
  } else if (view === "queues") {
    const both = Promise.all([read<"Queues">("/queues"), read<"Schedules">("/schedules")])
    await unlessLeft(both, ([queues, schedules]) => {
      openQueues = { queues, schedules }
    })
  } else if (view === "failures" && id === undefined) {
    await unlessLeft(read<"Patterns">("/patterns"), (found) => {
      openPatterns = found
    })
  } else if (view === "failures") {
    const all = Promise.all([
      read<"Failure">(`/failures/${path}`),
      read<"Suggest">(`/failures/${path}/suggestions`),
      read<"Recoveries">(`/recoveries?failure=${encodeURIComponent(id ?? "")}`)
    ])
    await unlessLeft(all, ([failure, suggestions, recoveries]) => {
      openFailure = { failure, suggestions, recoveries }
    })
  } else if (view === "recoveries" && id !== undefined) {
    await unlessLeft(read<"Recovery">(`/recoveries/${path}`), (found) => {
      openRecovery = found
    })
  }
}

const onEvent = (name: string, data: unknown) => {
  // Names and data are those of the server that serves this page.
  clearTrouble(name)
  if (name === "overview") latest = data as Overview
  if (name === "run") openRun = { ...openRun, status: data as OpenRun["status"] }
  if (name === "timeline") openRun = { ...openRun, timeline: data as OpenRun["timeline"] }
  if (name === "trouble") return showTrouble(data as Trouble)
  if (name !== "overview") return draw()
  onState("live", undefined)
  void load().then(draw)
}

interface Trouble {
  readonly about: string
  readonly message: string
}

/** The last known state stays visible. */
const showTrouble = ({ about, message }: Trouble) => {
  if (about !== "overview") return failed(about)(new Error(message))
  state.className = "lost"
  state.textContent = message
}

const onState = (connection: "live" | "lost", refusal: Refusal | undefined) => {
  state.className = connection
  state.textContent = connection === "live" ? "Live" : (refusal?.message ?? "No connection")
  if (connection === "live" && !isAboutLoaded) loadAbout().catch(() => undefined)
  if (refusal?.status !== 401) return
  unauthorized = refusal
  draw()
}

/** Listens to the overview, and to the opened run. */
const start = () => {
  listening.abort()
  listening = new AbortController()
  openRun = { status: undefined, timeline: undefined }
  openFailure = undefined
  openRecovery = undefined
  trouble = undefined
  unauthorized = undefined
  const { id, query, view } = routeOf(location.hash)
  if (openRuns?.query !== `${query}`) openRuns = undefined
  const path = view === "runs" && id !== undefined ? `/live?run=${encodeURIComponent(id)}` : "/live"
  void listen(path, { onEvent, onState }, listening.signal)
  draw()
}

/** Loads the name of the storage, and whether actions are allowed. */
const loadAbout = async () => {
  const { readonly, where } = await read<"About">("/about")
  isAboutLoaded = true
  canAct = !readonly
  byId("where", HTMLElement).textContent = `${where ?? ""}${readonly ? " (read only)" : ""}`
  draw()
}

takeToken()
restoreTheme()
listenToKeys(views)
byId("theme", HTMLButtonElement).addEventListener("click", switchTheme)
byId("keys", HTMLButtonElement).addEventListener("click", () => byId("help", HTMLDialogElement).showModal())
window.addEventListener("hashchange", () => {
  takeToken()
  start()
  // On narrow screens the opened item stands above the list.
  if (!matchMedia("(min-width: 60rem)").matches) scrollTo(0, 0)
})
addEventListener("pointerdown", () => {
  isPressed = true
})
for (const end of ["pointerup", "pointercancel", "blur"]) {
  addEventListener(end, () => {
    isPressed = false
    // The click event follows, so redraw after it.
    setTimeout(draw)
  })
}
addEventListener("acted", () => void load().then(draw))
// Updates relative times such as "a minute ago", and what is not part of the overview.
setInterval(() => void load().then(draw), 20_000)
start()
