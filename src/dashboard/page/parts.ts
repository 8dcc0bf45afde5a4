import { act, Refusal } from "./api.js"
import { byId, type Child, h } from "./dom.js"
import { ago, time, words } from "./format.js"
import type { Tag, Value } from "./model.js"

export const chip = (status: string) => h("span", { class: `chip ${status}` }, words(status))

export const when = (iso: string | null | undefined) =>
  iso ? h("time", { datetime: iso, title: time(iso) }, ago(iso)) : undefined

export const panel = (title: string, ...content: ReadonlyArray<Child>) =>
  h("section", { class: "panel" }, h("h2", {}, title), ...content)

export const empty = (text: string) => h("p", { class: "empty" }, text)

/** A list with the children of each item, or the text `none` if there are no items. */
export const list = <A>(
  tag: "ol" | "ul",
  kind: string,
  items: ReadonlyArray<A>,
  childrenOf: (item: A) => ReadonlyArray<Child>,
  none: string
): HTMLElement =>
  items.length === 0 ? empty(none) : h(tag, { class: kind }, ...items.map((item) => h("li", {}, ...childrenOf(item))))

/** A list of names and values, without empty values. */
export const facts = (entries: Readonly<Record<string, Node | string | number | null | undefined>>) =>
  h(
    "dl",
    { class: "facts" },
    ...Object.entries(entries).flatMap(([name, value]) =>
      value === null || value === undefined || value === "" ? [] : [h("dt", {}, name), h("dd", {}, value)]
    )
  )

export interface Row {
  /** Where the row's name links to. */
  readonly href?: string
  readonly name: string
  readonly cells: ReadonlyArray<Node | string | number | undefined>
  readonly isCurrent?: boolean
}

/** The first cell of a row is a link, which keyboards, mice and screen readers can reach. */
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
      href === undefined
        ? name
        : h("a", { href, class: "row", "data-key": href, "aria-current": isCurrent ? "true" : undefined }, name)
    ),
    ...cells.map((cell) => h("td", {}, cell))
  )

export const link = (view: string, id: string) => `#/${view}/${encodeURIComponent(id)}`

export const linkTo = (view: string, id: string | undefined) =>
  id === undefined ? undefined : h("a", { href: link(view, id) }, id)

/** Shows a notice: 6 s for a success, 20 s for a failure. */
export const notice = (text: string, kind: "good" | "bad"): void => {
  const notices = byId("notices", HTMLElement)
  const one = h("p", { class: kind }, text)
  notices.append(one)
  setTimeout(() => one.remove(), kind === "good" ? 6_000 : 20_000)
}

const confirm = (question: string): Promise<boolean> => {
  const dialog = byId("confirm", HTMLDialogElement)
  byId("confirm-text", HTMLElement).textContent = question
  dialog.returnValue = "no"
  dialog.showModal()
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true })
  })
}

export interface Action<T extends Tag> {
  /** Distinguishes buttons with the same label and path. */
  readonly key?: string | undefined
  readonly label: string
  readonly path: string
  /** Defaults to an empty one. */
  readonly payload?: () => Readonly<Record<string, unknown>>
  /** The notice after a success. */
  readonly done: (reply: Value<T>) => string
  /** The question to confirm first, for actions that undo something. It may have to be read from the server. */
  readonly ask?: string | (() => Promise<string>) | undefined
  /** Defaults to whether there is a question. */
  readonly isDangerous?: boolean | undefined
}

/** The keys of actions in progress: a redraw keeps their buttons disabled. */
const busy = new Set<string>()

/** A button that sends an action, and is disabled until the reply arrives. */
export const button = <T extends Tag>(action: Action<T>) => {
  const { ask, done, isDangerous = ask !== undefined, key = "", label, path, payload = () => ({}) } = action
  const own = `${label} ${path} ${key}`
  const press = async (event: Event) => {
    const pressed = event.currentTarget
    if (!(pressed instanceof HTMLButtonElement)) return
    busy.add(own)
    pressed.disabled = true
    try {
      const isWanted = ask === undefined || (await confirm(typeof ask === "string" ? ask : await ask()))
      if (isWanted) {
        notice(done(await act<T>(path, payload())), "good")
        dispatchEvent(new Event("acted"))
      }
    } catch (error) {
      const needsToken = error instanceof Refusal && error.status === 401
      notice(
        needsToken
          ? "Actions need the token. Open the link that recovery dashboard --web prints. A program has it in Dashboard.link."
          : `${label}: ${messageOf(error)}`,
        "bad"
      )
    }
    busy.delete(own)
    // A redraw may have replaced the button.
    for (const one of document.querySelectorAll<HTMLButtonElement>("main button")) {
      if (one.dataset["key"] === own) one.disabled = false
    }
  }
  const props = { type: "button", "data-key": own, disabled: busy.has(own), click: (event: Event) => void press(event) }
  return h("button", isDangerous ? { ...props, class: "danger" } : props, label)
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
