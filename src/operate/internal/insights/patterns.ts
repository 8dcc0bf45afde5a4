import * as Arr from "effect/Array"
import type { FailureRecord } from "../../FailureRecord.js"
import type { Pattern, ResolutionsFor } from "../../Insights.js"
import { stepName } from "../records/recoveries.js"

/** Words that say nothing about the kind of a failure. */
const common = new Set(
  "error errors failed failure failing fail with from that this have been could cannot while when after before were found exit code line file into over more than".split(
    " "
  )
)

const maxWords = 3

/** The first significant words of a message, sorted. */
const wordsOf = (message: string): ReadonlyArray<string> => {
  const words = (
    message.toLowerCase().match(/\p{L}{4,}|[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]{2,}/gu) ?? []
  ).filter((word) => !common.has(word))
  return [...new Set(words)].slice(0, maxWords).sort()
}

const minGroupSize = 2

const maxIds = 20

/** Messages without significant words are grouped by fingerprint. */
const keyOf = ({ category, fingerprint, message }: FailureRecord): string => {
  const words = wordsOf(message)
  return JSON.stringify([category, ...(words.length === 0 ? [fingerprint] : words)])
}

export const adviceFor = (
  { category, recovery, step }: FailureRecord,
  resolutionsFor: ResolutionsFor
): ReadonlyArray<string> => resolutionsFor(category, step === undefined ? recovery : stepName(step))

/** Groups failures of one category with the same significant words, the largest group first. */
export const patternsOf = (
  failures: ReadonlyArray<FailureRecord>,
  resolutionsFor: ResolutionsFor
): ReadonlyArray<Pattern> =>
  Object.values(Arr.groupBy(failures, keyOf))
    .filter((group) => group.length >= minGroupSize)
    .map((group): Pattern => {
      const [newest] = group
      return {
        category: newest.category,
        words: wordsOf(newest.message),
        count: group.length,
        example: newest.message,
        failures: group.slice(0, maxIds).map(({ id }) => id),
        resolutions: adviceFor(newest, resolutionsFor)
      }
    })
    .sort((a, b) => b.count - a.count)
