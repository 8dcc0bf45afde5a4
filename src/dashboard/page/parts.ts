import { act, Refusal } from "./api.js"
import { byId, h } from "./dom.js"
import { ago, time, words } from "./format.js"

export const chip = (status: string) => h("span", { class: `chip ${status}` }, words(status))

export const when = (iso: string | null | undefined) =>
  iso ? h("time", { datetime: iso, title: time(iso) }, ago(iso)) : undefined

export const panel = (title: string, ...content: ReadonlyArray<Node>) =>
  h("section", { class: "panel" }, h("h2", {}, title), ...content)

export const empty = (text: string) => h("p", { class: "empty" }, text)

/** Names and what they stand for, without those that stand for nothing. */
export const facts = (entries: Readonly<Record<string, Node | string | number | null | undefined>>) =>
  h(
    "dl",
    { class: "facts" },
    ...Object.entries(entries).flatMap(([name, value]) =>
      value === null || value === undefined || value === "" ? [] : [h("dt", {}, name), h("dd", {}, value)]
    )
  )

export interface Row {
  readonly href: string
  readonly name: string
  readonly cells: ReadonlyArray<Node | string | number | undefined>
  readonly isCurrent?: boolean
}

/** Rows are links: the keyboard, the mouse and a screen reader find them alike. */
export const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<Row>, none: string): HTMLElement =>
  rows.length === 0
    ? empty(none)
    : h(
        "div",
        { class: "scroll" },
        h(
          "table",
          {},
          h("thead", {}, h("tr", {}, ...head.map((name) => h("th", { scope: "col" }, name)))),
          h("tbody", {}, ...rows.map(rowOf))
        )
      )

const rowOf = ({ cells, href, isCurrent = false, name }: Row) =>
  h(
    "tr",
    isCurrent ? { class: "current" } : {},
    h(
      "th",
      { scope: "row" },
      h("a", { href, class: "row", "data-key": href, "aria-current": isCurrent ? "true" : undefined }, name)
    ),
    ...cells.map((cell) => h("td", {}, cell))
  )

export const link = (view: string, id: string) => `#/${view}/${encodeURIComponent(id)}`

/** Says what has become of something, for a while. */
export const notice = (text: string, kind: "good" | "bad"): void => {
  const notices = byId("notices", HTMLElement)
  const one = h("p", { class: kind }, text)
  notices.append(one)
  setTimeout(() => one.remove(), kind === "good" ? 6_000 : 20_000)
}

const isSure = (question: string): Promise<boolean> => {
  const dialog = byId("confirm", HTMLDialogElement)
  byId("confirm-text", HTMLElement).textContent = question
  dialog.returnValue = "no"
  dialog.showModal()
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true })
  })
}

export interface Action {
  /** Tells it from others that ask the same of the server. */
  readonly key?: string | undefined
  readonly label: string
  readonly path: string
  readonly payload: () => Readonly<Record<string, unknown>>
  readonly done: (answer: unknown) => string
  /** What is asked before, where something is undone. */
  readonly ask?: string | undefined
}

/** What is being done; a redraw must not offer it again. */
const busy = new Set<string>()

/** A button that does one thing, once. */
export const button = ({ ask, done, key = "", label, path, payload }: Action) => {
  const own = `${label} ${path} ${key}`
  const press = async (event: Event) => {
    const pressed = event.currentTarget
    if (!(pressed instanceof HTMLButtonElement)) return
    if (ask !== undefined && !(await isSure(ask))) return
    busy.add(own)
    pressed.disabled = true
    try {
      notice(done(await act(path, payload())), "good")
    } catch (error) {
      const needsToken = error instanceof Refusal && error.status === 401
      notice(
        needsToken
          ? "Acting needs the token: open the link that was printed at start."
          : `${label}: ${messageOf(error)}`,
        "bad"
      )
    }
    busy.delete(own)
    // Another one may have taken its place meanwhile.
    for (const one of document.querySelectorAll<HTMLButtonElement>("main button")) {
      if (one.dataset["key"] === own) one.disabled = false
    }
  }
  const props = { type: "button", "data-key": own, disabled: busy.has(own), click: (event: Event) => void press(event) }
  return h("button", ask === undefined ? props : { ...props, class: "danger" }, label)
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
