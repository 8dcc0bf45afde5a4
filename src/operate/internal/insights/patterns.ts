import * as Arr from "effect/Array"
import type { FailureRecord } from "../../FailureRecord.js"
import type { Pattern } from "../../Insights.js"
import { stepName } from "./place.js"
import { resolutionsFor } from "./resolutions.js"

/** Words every failure may have. */
const common = new Set(
  "error errors failed failure failing fail with from that this have been could cannot while when after before were found exit code line file into over more than".split(
    " "
  )
)

const mostWords = 3

/** What a message is about: the first words that are long enough to mean something, in one order. */
const wordsOf = (message: string): ReadonlyArray<string> => {
  const words = (
    message.toLowerCase().match(/\p{L}{4,}|[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]{2,}/gu) ?? []
  ).filter((word) => !common.has(word))
  return [...new Set(words)].slice(0, mostWords).sort()
}

/** Two of a kind make a pattern. */
const fewest = 2

const mostIds = 20

/** Without words there is the fingerprint. */
const keyOf = ({ category, fingerprint, message }: FailureRecord): string => {
  const words = wordsOf(message)
  return JSON.stringify([category, ...(words.length === 0 ? [fingerprint] : words)])
}

/** By what it is, and where it came to pass. */
export const adviceFor = ({ category, recovery, step }: FailureRecord): ReadonlyArray<string> =>
  resolutionsFor(category, step === undefined ? recovery : stepName(step))

/** Groups of failures that are about the same, the largest first. */
export const patternsOf = (failures: ReadonlyArray<FailureRecord>): ReadonlyArray<Pattern> =>
  Object.values(Arr.groupBy(failures, keyOf))
    .filter((group) => group.length >= fewest)
    .map((group): Pattern => {
      const [newest] = group
      return {
        category: newest.category,
        words: wordsOf(newest.message),
        count: group.length,
        example: newest.message,
        failures: group.slice(0, mostIds).map(({ id }) => id),
        resolutions: adviceFor(newest)
      }
    })
    .sort((a, b) => b.count - a.count)
