import { byId } from "./dom.js"

const isTyping = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && target.closest("input, textarea, select, dialog[open]") !== null

const move = (by: 1 | -1): void => {
  const rows = [...document.querySelectorAll<HTMLElement>("main a.row")]
  const focused = document.activeElement
  const at = focused instanceof HTMLElement ? rows.indexOf(focused) : -1
  const current = rows.findIndex((row) => row.getAttribute("aria-current") === "true")
  const from = at >= 0 ? at : current >= 0 ? current : by === 1 ? -1 : rows.length
  rows[Math.min(rows.length - 1, Math.max(0, from + by))]?.focus()
}

/** Switches between light and dark. Before the first switch the system's scheme applies. */
export const switchTheme = (): void => {
  const root = document.documentElement
  const isDark = root.dataset["theme"]
    ? root.dataset["theme"] === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches
  root.dataset["theme"] = isDark ? "light" : "dark"
  localStorage.setItem("effect-recovery-theme", root.dataset["theme"])
}

export const restoreTheme = (): void => {
  const stored = localStorage.getItem("effect-recovery-theme")
  if (stored === "light" || stored === "dark") document.documentElement.dataset["theme"] = stored
}

export const listenToKeys = (views: ReadonlyArray<string>): void => {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return
    const view = views[Number(event.key) - 1]
    if (view !== undefined) location.hash = `#/${view}`
    else if (event.key === "j") move(1)
    else if (event.key === "k") move(-1)
    else if (event.key === "t") switchTheme()
    else if (event.key === "?") byId("help", HTMLDialogElement).showModal()
    else if (event.key === "Backspace") location.hash = location.hash.replace(/^(#\/[^/?]+)\/[^?]+/, "$1")
    else return
    event.preventDefault()
  })
}
