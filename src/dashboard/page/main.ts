import { listen, type Refusal, read, setToken, takeToken } from "./api.js"
import { byId, h, replace } from "./dom.js"
import { keepTheme, listenToKeys, switchTheme } from "./keys.js"
import type { Overview, Pattern, Recovery } from "./model.js"
import { empty, panel } from "./parts.js"
import { escalations } from "./views/escalations.js"
import { failure, failures, type Known, patterns } from "./views/failures.js"
import { overview, recovery } from "./views/overview.js"
import { questions } from "./views/questions.js"
import { run, runs, type Watched } from "./views/runs.js"

const views = ["", "runs", "failures", "questions", "escalations"]
const titles = ["Overview", "Runs", "Failures", "Questions", "Escalations"]

interface Route {
  readonly view: string
  readonly id: string | undefined
}

const routeOf = (hash: string): Route => {
  const [, view = "", id] = /^#\/([^/]*)(?:\/(.+))?$/.exec(hash) ?? []
  return { view, id: id === undefined ? undefined : decodeURIComponent(id) }
}

/** What is known by now. */
let now: Overview | undefined
let watched: Watched = { status: undefined, timeline: undefined }
let known: Known | undefined
let seen: Recovery | undefined
let alike: ReadonlyArray<Pattern> = []
let trouble: string | undefined
let canAct = false
let listening = new AbortController()

const main = byId("main", HTMLElement)
const state = byId("state", HTMLElement)

const tabs = () => {
  const { view } = routeOf(location.hash)
  const counts: Readonly<Record<string, number | undefined>> = {
    failures: now?.statistics.openFailures,
    questions: now?.questions.length,
    escalations: now?.escalations.length
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

const askForToken = (why: Refusal) => {
  const field = h("input", { type: "password", autocomplete: "off", required: true, "data-key": "token" })
  const submit = (event: Event) => {
    event.preventDefault()
    setToken(field.value.trim())
    begin()
  }
  replace(
    main,
    panel(
      "The token, please",
      h("p", {}, why.message),
      h("form", { submit, class: "token" }, h("label", {}, "Token", field), h("button", {}, "Open"))
    )
  )
}

/** A list, and what was opened of it beside it. */
const beside = (list: Node, opened: ReadonlyArray<Node> | undefined): ReadonlyArray<Node> =>
  opened === undefined ? [list] : [h("div", { class: "beside" }, list, h("div", {}, ...opened))]

const content = (overview_: Overview): ReadonlyArray<Node> => {
  const { id, view } = routeOf(location.hash)
  const opened = id === undefined ? undefined : trouble === undefined ? undefined : [empty(trouble)]
  switch (view) {
    case "runs":
      return beside(runs(overview_, id), opened ?? (id === undefined ? undefined : run(watched, canAct)))
    case "failures":
      if (id === undefined) return [failures(overview_, id), patterns(alike)]
      return beside(
        failures(overview_, id),
        opened ?? (known === undefined ? [empty("Loading…")] : failure(known, canAct))
      )
    case "questions":
      return questions(overview_, canAct)
    case "escalations":
      return escalations(overview_, canAct)
    case "recoveries":
      return opened ?? (seen === undefined ? [empty("Loading…")] : recovery(seen))
    default:
      return overview(overview_)
  }
}

const draw = () => {
  tabs()
  if (now !== undefined) replace(main, ...content(now))
}

const failed = (error: unknown) => {
  trouble = error instanceof Error ? error.message : String(error)
  draw()
}

/** What the overview does not hold. */
const load = async () => {
  const { id, view } = routeOf(location.hash)
  if (view === "failures" && id === undefined) alike = await read("/patterns")
  if (id === undefined) return
  const path = encodeURIComponent(id)
  if (view === "failures") {
    const [failure, suggestions, recoveries] = await Promise.all([
      read<Known["failure"]>(`/failures/${path}`),
      read<Known["suggestions"]>(`/failures/${path}/suggestions`),
      read<Known["recoveries"]>(`/recoveries?failure=${path}`)
    ])
    if (routeOf(location.hash).id === id) known = { failure, suggestions, recoveries }
  }
  if (view === "recoveries") {
    const found = await read<Recovery>(`/recoveries/${path}`)
    if (routeOf(location.hash).id === id) seen = found
  }
}

const onEvent = (name: string, data: unknown) => {
  // The names and their data are those of the server that serves this page.
  if (name === "overview") now = data as Overview
  if (name === "run") watched = { ...watched, status: data as Watched["status"] }
  if (name === "timeline") watched = { ...watched, timeline: data as Watched["timeline"] }
  if (name === "trouble") return inTrouble(data as Trouble)
  if (name !== "overview") return draw()
  onState("live", undefined)
  load().then(draw, failed)
}

interface Trouble {
  readonly about: string
  readonly message: string
}

/** What was known before is still shown. */
const inTrouble = ({ about, message }: Trouble) => {
  if (about !== "overview") return failed(new Error(message))
  state.className = "lost"
  state.textContent = message
}

const onState = (how: "live" | "lost", why: Refusal | undefined) => {
  state.className = how
  state.textContent = how === "live" ? "Live" : "No connection"
  if (why?.status === 401) askForToken(why)
  else if (why !== undefined) failed(why)
}

/** Listens to the overview, and to the run that is looked at. */
const begin = () => {
  listening.abort()
  listening = new AbortController()
  watched = { status: undefined, timeline: undefined }
  known = undefined
  seen = undefined
  trouble = undefined
  const { id, view } = routeOf(location.hash)
  const path = view === "runs" && id !== undefined ? `/live?run=${encodeURIComponent(id)}` : "/live"
  void listen(path, { onEvent, onState }, listening.signal)
  about().catch(() => undefined)
  draw()
}

const about = async () => {
  const { readonly, where } = await read<{ readonly readonly: boolean; readonly where?: string }>("/about")
  canAct = !readonly
  byId("where", HTMLElement).textContent = `${where ?? ""}${readonly ? " (read only)" : ""}`
  draw()
}

takeToken()
keepTheme()
listenToKeys(views)
byId("theme", HTMLButtonElement).addEventListener("click", switchTheme)
byId("keys", HTMLButtonElement).addEventListener("click", () => byId("help", HTMLDialogElement).showModal())
window.addEventListener("hashchange", () => {
  takeToken()
  begin()
  // Where there is no room beside the list, what was opened stands above it.
  if (!matchMedia("(min-width: 60rem)").matches) scrollTo(0, 0)
})
// "A minute ago" is not true for long.
setInterval(draw, 20_000)
begin()
