import { processText } from "../../processText.js"
import { h } from "../dom.js"
import { time } from "../format.js"
import type { RunSummary } from "../model.js"
import { chip, link, panel, table, when } from "../parts.js"

/** How many runs a page of the list has. */
export const pageSize = 50

const statuses = ["running", "held", "suspended", "stopped", "completed", "failed", "exhausted", "cancelled"]

/** The filters: their names in the address, and their labels. */
const texts = { workflow: "Workflow", version: "Version", queue: "Queue", labels: "Labels, as name=value" } as const
const times = { since: "Created from", until: "Created before" } as const
const names = [...Object.keys(texts), "status", ...Object.keys(times)]

/** `tenant=acme kind=web` as an object; undefined if there is no pair. */
const labelsIn = (text: string): Readonly<Record<string, string>> | undefined => {
  const pairs = text.split(/\s+/).flatMap((pair) => {
    const at = pair.indexOf("=")
    return at > 0 ? [[pair.slice(0, at), pair.slice(at + 1)] as const] : []
  })
  return pairs.length === 0 ? undefined : Object.fromEntries(pairs)
}

/** The parameters of the request for the runs that an address asks for; undefined for the newest ones of all. */
export const runsQuery = (given: URLSearchParams): URLSearchParams | undefined => {
  const query = new URLSearchParams()
  for (const [name, value] of given) {
    const labels = name === "labels" ? labelsIn(value) : undefined
    const isTime = name in times
    if (labels !== undefined) query.set(name, JSON.stringify(labels))
    else if (isTime && !Number.isNaN(Date.parse(value))) query.set(name, new Date(value).toISOString())
    else if (!isTime && name !== "labels" && value !== "") query.set(name, value)
  }
  if (query.size === 0) return undefined
  query.set("limit", String(pageSize))
  return query
}

/** The address of the list with these filters. */
const address = (filters: ReadonlyArray<readonly [string, string]>, id?: string): string => {
  const query = new URLSearchParams(filters.filter(([, value]) => value !== "").map(([name, value]) => [name, value]))
  const path = id === undefined ? "#/runs" : link("runs", id)
  return query.size === 0 ? path : `${path}?${query}`
}

const filtersOf = (form: HTMLFormElement): ReadonlyArray<readonly [string, string]> => {
  const data = new FormData(form)
  return names.map((name) => [name, String(data.get(name) ?? "").trim()])
}

/** The fields are made anew for each address, so that they show its filters. */
const filterForm = (given: URLSearchParams) => {
  const key = (name: string) => `filter ${name} ${given}`
  const field = (name: string, label: string, type: "text" | "datetime-local" | "search") =>
    h("label", {}, label, h("input", { type, name, value: given.get(name) ?? "", "data-key": key(name) }))
  const option = (status: string) => h("option", { selected: given.get("status") === status, value: status }, status)
  const submit = (event: Event) => {
    event.preventDefault()
    const form = event.currentTarget
    if (!(form instanceof HTMLFormElement)) return
    const id = String(new FormData(form).get("id") ?? "").trim()
    location.hash = address(filtersOf(form), id === "" ? undefined : id)
  }
  const isFiltered = [...given.keys()].length > 0
  return h(
    "form",
    { submit, class: "filters", role: "search", "aria-label": "Runs" },
    field("id", "Open the run with this id", "search"),
    h(
      "details",
      { open: isFiltered, "data-key": "filters" },
      h("summary", {}, "Filters"),
      h(
        "div",
        { class: "fields" },
        h(
          "label",
          {},
          "Status",
          h(
            "select",
            { name: "status", "data-key": key("status") },
            h("option", { value: "" }, "any"),
            ...statuses.map(option)
          )
        ),
        ...Object.entries(texts).map(([name, label]) => field(name, label, "text")),
        ...Object.entries(times).map(([name, label]) => field(name, label, "datetime-local"))
      )
    ),
    h(
      "div",
      { class: "buttons" },
      h("button", { "data-key": "filter" }, "Show"),
      isFiltered && h("a", { href: "#/runs", "data-key": "filter none" }, "Show all")
    )
  )
}

const waitText = ({ about, kind }: RunSummary["waiting"][number]): string =>
  kind === "question" ? about : `${kind} ${about}`

/** Which process advances a run, why it does not advance, or how it ended. */
const aboutRun = (run: RunSummary): string => {
  const { cancelling, dueAt, executions, failure, finishedAt, hold, owner, queue, status, waiting } = run
  if (failure !== null) return failureText(failure)
  if (hold !== null) return `On hold: ${hold.reason}`
  if (cancelling !== null) return `To be cancelled: ${cancelling.reason}`
  if (waiting.length > 0) return waiting.map(waitText).join(", ")
  if (finishedAt !== null || status === "running") return owner === null ? "" : processText(owner)
  if (status === "suspended") return dueAt === null ? "" : `${executions === 0 ? "Starts" : "Resumes"} ${time(dueAt)}`
  return queue === null ? "" : `In queue ${queue.name}${queue.key === "" ? "" : `, key ${queue.key}`}`
}

export const failureText = ({ message, tag }: NonNullable<RunSummary["failure"]>): string =>
  tag === undefined || tag === "RunCancelled" || message.startsWith(tag) ? message : `${tag}: ${message}`

export const runs = (all: ReadonlyArray<RunSummary>, current: string | undefined, given: URLSearchParams): Node => {
  const filters = [...given].filter(([name]) => name !== "before")
  const last = all.length < pageSize ? undefined : all.at(-1)
  return panel(
    "Runs, newest first",
    filterForm(given),
    table(
      ["Run", "Workflow", "Status", "Created", "About"],
      all.map((run) => ({
        href: address([...given], run.id),
        name: run.id,
        isCurrent: run.id === current,
        cells: [
          run.workflow,
          chip(run.status),
          when(run.createdAt),
          h("span", { class: "about", title: aboutRun(run) }, aboutRun(run))
        ]
      })),
      filters.length === 0 && !given.has("before") ? "No runs yet." : "No such runs."
    ),
    h(
      "div",
      { class: "buttons" },
      given.has("before") && h("a", { href: address(filters), "data-key": "first page" }, "First page"),
      last !== undefined &&
        h("a", { href: address([...filters, ["before", String(last.key)]]), "data-key": "next page" }, "Next page")
    )
  )
}
