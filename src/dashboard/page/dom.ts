type Child = Node | string | number | null | undefined | false

type Props = Readonly<Record<string, string | number | boolean | ((event: Event) => void) | undefined>>

/** Everything from elsewhere becomes text: nothing on this page is ever read as HTML. */
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

/** An element; what is a function listens to the event of its name. */
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

const byKey = (container: Element): Map<string, HTMLElement> =>
  new Map([...container.querySelectorAll<HTMLElement>("[data-key]")].map((one) => [one.dataset["key"] ?? "", one]))

/** Puts new content in place of what is there; who types or walks through it with the keyboard notices nothing. */
export const replace = (container: HTMLElement, ...children: ReadonlyArray<Node>): void => {
  const before = byKey(container)
  const focused = document.activeElement
  const key = focused instanceof HTMLElement && container.contains(focused) ? focused.dataset["key"] : undefined
  const selection =
    focused !== null && isField(focused) ? ([focused.selectionStart, focused.selectionEnd] as const) : null
  const { scrollLeft, scrollTop } = container
  container.replaceChildren(...children)
  for (const [name, element] of byKey(container)) {
    const old = before.get(name)
    if (old === undefined) continue
    if (isField(element) && isField(old)) element.value = old.value
    if (element instanceof HTMLDetailsElement && old instanceof HTMLDetailsElement) element.open = old.open
    if (name !== key) continue
    element.focus({ preventScroll: true })
    if (isField(element) && selection !== null) element.setSelectionRange(selection[0], selection[1])
  }
  container.scrollTo(scrollLeft, scrollTop)
}

/** An element of the page itself. */
export const byId = <E extends HTMLElement>(id: string, type: abstract new () => E): E => {
  const found = document.getElementById(id)
  if (!(found instanceof type)) throw new Error(`The page has no ${id}`)
  return found
}
