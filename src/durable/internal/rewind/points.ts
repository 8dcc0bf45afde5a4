import type { Journal, StepRecord } from "../../../journal/Journal.js"
import { decodeSaved } from "../../../journal/JournalLine.js"
import type * as Decision from "../../../resilience/Decision.js"
import { escapeName, withoutUse } from "../../../resilience/Key.js"
import { RewindRefused } from "../../../resilience/RecoveryError.js"
import type { Rewound } from "../../../storage/Storage.js"

/** Where the program asks for a rewind: the section and the transaction around. */
export interface Here {
  readonly section: string
  readonly transaction: string | undefined
}

/** A place in the journal to rewind to. */
export interface Place extends Rewound {
  /** The point, in words. */
  readonly point: string
  readonly checkpoint: string | undefined
}

/** The places a point stands for, best first. A checkpoint has several, in case some are invalid. */
export const placesOf = (journal: Journal, point: Decision.Point, here: Here): ReadonlyArray<Place> => {
  switch (point._tag) {
    case "Start":
      return [{ after: 0, within: "", point: "the start", checkpoint: undefined }]
    case "Iteration":
      return sectionPlace(iterationOf(here.section), "the start of iteration")
    case "Transaction":
      return sectionPlace(here.transaction, "the start of transaction")
    case "Step":
      return stepPlaces(journal, point.step, here)
    case "Checkpoint":
      return checkpointPlaces(journal, point, here)
  }
}

/** A point in words. */
export const describe = (point: Decision.Point): string => {
  switch (point._tag) {
    case "Start":
      return "the start"
    case "Iteration":
      return "the start of an iteration"
    case "Transaction":
      return "the start of a transaction"
    case "Step":
      return `step "${point.step}"`
    case "Checkpoint":
      return `a checkpoint${point.name === undefined ? "" : ` "${point.name}"`}${point.id === undefined ? "" : ` (${point.id})`}`
  }
}

const sectionPlace = (within: string | undefined, what: string): ReadonlyArray<Place> =>
  within === undefined ? [] : [{ after: 0, within, point: `${what} "${within}"`, checkpoint: undefined }]

const iterationOf = (section: string): string | undefined => /^(.*\[-?\d+\]\/)/.exec(section)?.[1]

/** The section, the sections around it, and the run itself. */
const outwards = (section: string): ReadonlyArray<string> => {
  const parts = section.split("/").slice(0, -1)
  return [...parts.map((_, i) => `${parts.slice(0, parts.length - i).join("/")}/`), ""]
}

const stepPlaces = (journal: Journal, name: string, { section }: Here): ReadonlyArray<Place> => {
  const newestFirst = [...journal.steps.values()].sort((a, b) => b.order - a.order)
  const placeOf = (found: StepRecord | undefined, within: string): ReadonlyArray<Place> =>
    found === undefined
      ? []
      : [{ after: found.order - 1, within, point: `step "${found.step}"`, checkpoint: undefined }]
  for (const within of outwards(section)) {
    const base = within + escapeName(name)
    const last = newestFirst.find(({ step }) => withoutUse(step) === base)
    if (last !== undefined) return placeOf(last, within)
  }
  const inSection = `/${escapeName(name)}`
  const anywhere = newestFirst.find(({ step }) => withoutUse(step).endsWith(inSection))
  return placeOf(journal.steps.get(name) ?? anywhere, "")
}

type CheckpointPoint = Extract<Decision.Point, { readonly _tag: "Checkpoint" }>

const checkpointPlaces = (journal: Journal, { id, name }: CheckpointPoint, { section }: Here): ReadonlyArray<Place> => {
  const saved = [...journal.recorded.values()]
    .filter(({ kind }) => kind === "CheckpointSaved")
    .flatMap((entry) => {
      const saved = decodeSaved(entry)
      return saved === null ? [] : [{ ...saved, key: entry.step, seq: entry.seq }]
    })
    .filter((saved) => (name === undefined || saved.name === name) && (id === undefined || saved.id === id))
    .sort((a, b) => b.seq - a.seq)
  const within = outwards(section).find((section) => saved.some(({ key }) => key.startsWith(section)))
  return saved
    .filter(({ key }) => within !== undefined && key.startsWith(within))
    .map(({ id, name, seq }) => ({
      after: seq,
      within: within ?? "",
      point: `checkpoint "${name}" (${id})`,
      checkpoint: id
    }))
}

/** The steps and compensations a rewind removes. */
export const keysIn = (journal: Journal, { after, within }: Rewound): ReadonlySet<string> =>
  new Set(
    [...journal.steps.entries(), ...journal.undos.entries()]
      .filter(([key, { lastSeq }]) => lastSeq > after && key.startsWith(within))
      .map(([key]) => key)
  )

/** The place, or why the run cannot be rewound to it. */
export const checkPlace = (
  run: string,
  journal: Journal,
  point: Decision.Point,
  place: Place | undefined
): Place | RewindRefused => {
  if (place === undefined) return new RewindRefused({ run, point: describe(point), reason: "Unknown", detail: "" })
  const found = obstacle(journal, place)
  return found === undefined ? place : new RewindRefused({ run, point: place.point, ...found })
}

/** Where a point lies, looked for from the whole run, or why the run cannot be rewound to it. */
export const locate = (run: string, journal: Journal, point: Decision.Point): Place | RewindRefused =>
  checkPlace(run, journal, point, placesOf(journal, point, { section: "", transaction: undefined })[0])

/** What prevents a rewind to a place: a pivot after it, or a compensated transaction that would be kept. */
const obstacle = (
  journal: Journal,
  place: Place
): { readonly reason: "Pivot" | "Compensated"; readonly detail: string } | undefined => {
  const keys = keysIn(journal, place)
  for (const { pivot, status, step, unsure } of journal.steps.values()) {
    // A pivot that has started and not ended may have happened.
    if (pivot && (status !== "failed" || unsure) && keys.has(step)) return { reason: "Pivot", detail: step }
  }
  for (const { lastSeq, section } of journal.rollbacks.values()) {
    const isForgotten = lastSeq > place.after && section.startsWith(place.within)
    // The rewind would keep steps that the rollback has compensated.
    const kept = [...journal.steps.values()].some(
      (step) => step.step.startsWith(section) && step.lastSeq <= place.after
    )
    if ((isForgotten || place.within.startsWith(section)) && kept) return { reason: "Compensated", detail: section }
  }
  return undefined
}
