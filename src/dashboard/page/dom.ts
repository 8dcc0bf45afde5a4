export type Child = Node | string | number | null | undefined | false

type Props = Readonly<Record<string, string | number | boolean | ((event: Event) => void) | undefined>>

/** Children become text nodes: nothing from outside is parsed as HTML. */
const build = <E extends Element>(element: E, props: Props, children: ReadonlyArray<Child>): E => {
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") element.addEventListener(name, value)
    else if (value === true) element.setAttribute(name, "")
    else if (value !== undefined && value !== false) element.setAttribute(name, String(value))
  }
  for (const child of children) {
    if (child !== null && child !== undefined && child !== false) {
      element.append(child instanceof Node ? child : String(child))
    }
  }
  return element
}

/** Makes an element. A property that is a function listens to the event of its name. */
export const h = <K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: ReadonlyArray<Child>
): HTMLElementTagNameMap[K] => build(document.createElement(tag), props, children)

export const svg = <K extends keyof SVGElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: ReadonlyArray<Child>
): SVGElementTagNameMap[K] => build(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children)

type Field = HTMLInputElement | HTMLTextAreaElement

const isField = (element: Element): element is Field =>
  element instanceof HTMLInputElement || element instanceof HTMLTextAreaElement

/** Fields in which no text is selected, such as a time. */
const isSelectable = (field: Field): boolean =>
  field instanceof HTMLTextAreaElement || /text|search|password/.test(field.type)

const focusable = "a, button, summary, input, select, textarea, details"

/** Focusable elements by their key, or tag and text, and the index among equal ones. */
const byKey = (container: Element): Map<string, HTMLElement> => {
  const seen = new Map<string, number>()
  return new Map(
    [...container.querySelectorAll<HTMLElement>(focusable)].map((one) => {
      const text = one instanceof HTMLDetailsElement ? "" : one.textContent
      const name = one.dataset["key"] ?? `${one.tagName} ${one.getAttribute("href") ?? text}`
      const count = seen.get(name) ?? 0
      seen.set(name, count + 1)
      return [`${name} ${count}`, one]
    })
  )
}

const scrollers = (container: Element): ReadonlyArray<Element> => [
  container,
  ...container.querySelectorAll(".scroll, pre, .moments, .beside > div")
]

/** Replaces the content, and keeps focus, selection, typed text, open details and scroll positions. */
export const replace = (container: HTMLElement, ...children: ReadonlyArray<Node>): void => {
  const before = byKey(container)
  const focused = document.activeElement
  const key = [...before].find(([, one]) => one === focused)?.[0]
  const selection =
    focused !== null && isField(focused) ? ([focused.selectionStart, focused.selectionEnd] as const) : null
  const scrolled = scrollers(container).map(({ scrollLeft, scrollTop }) => [scrollLeft, scrollTop] as const)
  container.replaceChildren(...children)
  for (const [name, element] of byKey(container)) {
    const old = before.get(name)
    if (old === undefined) continue
    if (isField(element) && isField(old)) element.value = old.value
    if (element instanceof HTMLSelectElement && old instanceof HTMLSelectElement) element.value = old.value
    if (element instanceof HTMLDetailsElement && old instanceof HTMLDetailsElement) element.open = old.open
    if (name !== key) continue
    element.focus({ preventScroll: true })
    if (isField(element) && isSelectable(element) && selection !== null)
      element.setSelectionRange(selection[0], selection[1])
  }
  const after = scrollers(container)
  if (after.length !== scrolled.length) return
  for (const [i, one] of after.entries()) one.scrollTo(scrolled[i]?.[0] ?? 0, scrolled[i]?.[1] ?? 0)
}

/** Finds an element of index.html. */
export const byId = <E extends HTMLElement>(id: string, type: abstract new () => E): E => {
  const found = document.getElementById(id)
  if (!(found instanceof type)) throw new Error(`The page has no ${id}`)
  return found
}
