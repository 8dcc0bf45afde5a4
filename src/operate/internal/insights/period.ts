import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { Period, Rate } from "../../Insights.js"
import { type RecoveryDetails, recoveries, type Stored } from "../records/records.js"
import { rateOf } from "./statistics.js"

interface Query {
  readonly run?: string | undefined
  readonly repository?: string | undefined
}

const page = 500

/** Newest first, page by page, until they are older. */
const recordsSince = (time: number, { repository, run }: Query) =>
  Effect.gen(function* () {
    const all: Array<Stored<RecoveryDetails>> = []
    for (let before: number | undefined; ; ) {
      const rows = yield* recoveries.list({ scope: repository, before, limit: page })
      const recent = rows.filter(({ at }) => at >= time)
      all.push(...recent.filter(({ details }) => run === undefined || details.run === run))
      if (recent.length < page) return all
      before = rows.at(-1)?.key
    }
  })

const rate = (rows: ReadonlyArray<Stored<RecoveryDetails>>): Rate => {
  const of = (status: string) => rows.filter((row) => row.status === status).length
  return rateOf(of("completed"), of("failed"))
}

const ratesBy = (
  rows: ReadonlyArray<Stored<RecoveryDetails>>,
  key: (details: RecoveryDetails) => string
): Readonly<Record<string, Rate>> =>
  Object.fromEntries(
    Object.entries(Arr.groupBy(rows, ({ details }) => key(details))).map(([name, of]) => [name, rate(of)])
  )

export const periodOf = (time: number, query: Query) =>
  Effect.map(recordsSince(time, query), (rows): Period => {
    const about = rows.map(({ details, id }) => details.run ?? details.recovery ?? details.failure ?? id)
    return {
      recoveries: rate(rows),
      byStrategy: ratesBy(rows, ({ type }) => type),
      byCategory: ratesBy(rows, ({ category }) => category),
      affected: new Set(about).size
    }
  })
