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

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

const routeOf = (hash: string): Route => {
  const [, view = "", id] = /^#\/([^/]*)(?:\/(.+))?$/.exec(hash) ?? []
  return { view, id: id === undefined ? undefined : decoded(id) }
}

/** What is known by now. */
let now: Overview | undefined
let watched: Watched = { status: undefined, timeline: undefined }
let known: Known | undefined
let seen: Recovery | undefined
let alike: ReadonlyArray<Pattern> = []
/** What went wrong with what is opened; it is shown above what was known. */
let trouble: { readonly about: string; readonly message: string } | undefined
/** Nothing is shown before the token was given. */
let asking: Refusal | undefined
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
  if (document.activeElement?.closest("form.token")) return
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

const inView = (now_: Overview, { id, view }: Route): ReadonlyArray<Node> => {
  const isOpened = id !== undefined
  const waits = trouble === undefined ? [empty("Loading…")] : []
  const told = trouble === undefined ? [] : [h("p", { class: "trouble", role: "alert" }, trouble.message)]
  switch (view) {
    case "runs": {
      const known = watched.status === undefined ? waits : run(watched, canAct)
      return beside(runs(now_, id), isOpened ? [...told, ...known] : undefined)
    }
    case "failures":
      if (!isOpened) return [failures(now_, id), patterns(alike)]
      return beside(failures(now_, id), [...told, ...(known === undefined ? waits : failure(known, canAct))])
    case "questions":
      return questions(now_, canAct)
    case "escalations":
      return escalations(now_, canAct)
    case "recoveries":
      return isOpened ? [...told, ...(seen === undefined ? waits : recovery(seen))] : overview(now_)
    default:
      return overview(now_)
  }
}

/** A click is made of two halves: what is under the pointer stays until the second one. */
let isPressed = false

const draw = () => {
  if (isPressed) return
  tabs()
  if (asking !== undefined) askForToken(asking)
  else if (now !== undefined) replace(main, ...inView(now, routeOf(location.hash)))
}

const failed = (about: string) => (error: unknown) => {
  trouble = { about, message: error instanceof Error ? error.message : String(error) }
  draw()
}

const mended = (about: string) => {
  if (trouble?.about === about) trouble = undefined
}

/** What the overview does not hold. */
const load = async (): Promise<void> => {
  const { hash } = location
  const { id, view } = routeOf(hash)
  const path = encodeURIComponent(id ?? "")
  /** Whoever has gone on meanwhile wants to know nothing of it. */
  const unlessLeft = <A>(reading: Promise<A>, take: (found: A) => void) =>
    reading.then(
      (found) => {
        if (location.hash !== hash) return
        mended("loading")
        take(found)
      },
      (error: unknown) => {
        if (location.hash === hash) failed("loading")(error)
      }
    )
  if (view === "failures" && id === undefined) {
    await unlessLeft(read<ReadonlyArray<Pattern>>("/patterns"), (found) => {
      alike = found
    })
  } else if (view === "failures") {
    const all = Promise.all([
      read<Known["failure"]>(`/failures/${path}`),
      read<Known["suggestions"]>(`/failures/${path}/suggestions`),
      read<Known["recoveries"]>(`/recoveries?failure=${path}`)
    ])
    await unlessLeft(all, ([failure, suggestions, recoveries]) => {
      known = { failure, suggestions, recoveries }
    })
  } else if (view === "recoveries" && id !== undefined) {
    await unlessLeft(read<Recovery>(`/recoveries/${path}`), (found) => {
      seen = found
    })
  }
}

const onEvent = (name: string, data: unknown) => {
  // The names and their data are those of the server that serves this page.
  mended(name)
  if (name === "overview") now = data as Overview
  if (name === "run") watched = { ...watched, status: data as Watched["status"] }
  if (name === "timeline") watched = { ...watched, timeline: data as Watched["timeline"] }
  if (name === "trouble") return inTrouble(data as Trouble)
  if (name !== "overview") return draw()
  onState("live", undefined)
  void load().then(draw)
}

interface Trouble {
  readonly about: string
  readonly message: string
}

/** What was known before is still shown. */
const inTrouble = ({ about, message }: Trouble) => {
  if (about !== "overview") return failed(about)(new Error(message))
  state.className = "lost"
  state.textContent = message
}

const onState = (how: "live" | "lost", why: Refusal | undefined) => {
  state.className = how
  state.textContent = how === "live" ? "Live" : "No connection"
  if (why?.status === 401) asking = why
  else if (why !== undefined) state.textContent = why.message
  if (how === "live" && !isKnown) about().catch(() => undefined)
  if (why?.status === 401) draw()
}

/** Listens to the overview, and to the run that is looked at. */
const begin = () => {
  listening.abort()
  listening = new AbortController()
  watched = { status: undefined, timeline: undefined }
  known = undefined
  seen = undefined
  trouble = undefined
  asking = undefined
  const { id, view } = routeOf(location.hash)
  const path = view === "runs" && id !== undefined ? `/live?run=${encodeURIComponent(id)}` : "/live"
  void listen(path, { onEvent, onState }, listening.signal)
  draw()
}

/** Whether it is known what may be done here. */
let isKnown = false

const about = async () => {
  const { readonly, where } = await read<{ readonly readonly: boolean; readonly where?: string }>("/about")
  isKnown = true
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
addEventListener("pointerdown", () => {
  isPressed = true
})
for (const end of ["pointerup", "pointercancel", "blur"]) {
  addEventListener(end, () => {
    isPressed = false
    // The click comes after it.
    setTimeout(draw)
  })
}
// "A minute ago" is not true for long.
setInterval(draw, 20_000)
begin()
