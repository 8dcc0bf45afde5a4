import { assert, describe, it } from "@effect/vitest"
import * as Cron from "effect/Cron"
import * as FastCheck from "effect/FastCheck"
import { latestTimes, type Rule, type Times, timesOf } from "../../src/durable/internal/schedule/times.js"
import { lengthOf, seedOf } from "../support/campaigns.js"

const minute = 60_000

const dueTimes = (rule: Rule): Times => {
  const times = timesOf(rule)
  if (times === undefined) throw new Error("the rule cannot be read")
  return times
}

const between = (rule: Rule, from: string, to: string) =>
  latestTimes(dueTimes(rule), Date.parse(from) - 1, Date.parse(to), 1_000_000)

const iso = (times: ReadonlyArray<number>) => times.map((time) => new Date(time).toISOString().slice(5, 16))

const berlin = (cron: string): Rule => ({ cron, timeZone: "Europe/Berlin" })

describe("a schedule is due", () => {
  it("once on the day whose clock is set forward, at the change if the clock skips its time", () => {
    assert.deepStrictEqual(iso(between(berlin("30 2 * * *"), "2026-03-28", "2026-03-31")), [
      "03-28T01:30",
      "03-29T01:00",
      "03-30T00:30"
    ])
    assert.deepStrictEqual(iso(between(berlin("0,30 2,3 * * *"), "2026-03-29", "2026-03-29T12:00Z")), [
      "03-29T01:00",
      "03-29T01:30"
    ])
  })

  it("once on the day whose clock is set back, the first time that the clock shows its time", () => {
    assert.deepStrictEqual(iso(between(berlin("30 2 * * *"), "2026-10-24", "2026-10-27")), [
      "10-24T00:30",
      "10-25T00:30",
      "10-26T01:30"
    ])
  })

  it("in a period through both passes of an hour, where the next time of Effect's Cron leaves out the second", () => {
    const rule = berlin("*/30 * * * *")
    const expected = ["10-25T00:00", "10-25T00:30", "10-25T01:00", "10-25T01:30", "10-25T02:00"]
    assert.deepStrictEqual(iso(between(rule, "2026-10-25T00:00Z", "2026-10-25T02:00Z")), expected)
    const cron = Cron.unsafeParse("*/30 * * * *", "Europe/Berlin")
    assert.strictEqual(Cron.next(cron, new Date("2026-10-25T00:30Z")).toISOString(), "2026-10-25T02:00:00.000Z")
  })

  it("on leap days alone if its expression says so", () => {
    const rule = { cron: "0 0 29 2 *", timeZone: "UTC" }
    assert.deepStrictEqual(
      between(rule, "2095-01-01", "2109-01-01").map((time) => new Date(time).getUTCFullYear()),
      [2096, 2104, 2108]
    )
    assert.strictEqual(dueTimes({ cron: "0 0 30 2 *", timeZone: "UTC" }).next(0), undefined)
  })

  it("at the latest of many times without a look at all of them", () => {
    const year = Date.parse("2027-01-01")
    assert.deepStrictEqual(latestTimes(dueTimes({ every: 1_000 }), 0, year, 3), [year - 2_000, year - 1_000, year])
    assert.deepStrictEqual(latestTimes(dueTimes({ every: 1_000 }), year - 1_000, year, 3), [year])
    assert.deepStrictEqual(latestTimes(dueTimes(berlin("0 0 1 1 *")), year, year + 60 * minute, 3), [])
  })
})

/** The wall clock of a zone as a number, as if it were UTC. */
const wallClock = (timeZone: string) => {
  const parts = { year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric" } as const
  const format = new Intl.DateTimeFormat("en-US", { timeZone, hourCycle: "h23", era: undefined, ...parts })
  return (time: number): number => {
    const found = new Map(format.formatToParts(time).map(({ type, value }) => [type, Number(value)]))
    const part = (type: keyof typeof parts) => found.get(type) ?? 0
    return Date.UTC(part("year"), part("month") - 1, part("day"), part("hour"), part("minute"))
  }
}

/** Walks through all minutes: a time of the day is due when the clock has come to it, a period whenever it shows it. */
const walked = (cron: string, timeZone: string, from: number, to: number): ReadonlyArray<number> => {
  const expression = Cron.unsafeParse(cron, "UTC")
  const isPeriod = cron.split(" ")[1] === "*"
  const clock = wallClock(timeZone)
  let shown = clock(from - 2 * 24 * 60 * minute)
  const due: Array<number> = []
  for (let time = from - 2 * 24 * 60 * minute; time <= to; time += minute) {
    const wall = clock(time)
    let isDue = isPeriod && Cron.match(expression, wall)
    for (; shown < wall; shown += minute) isDue = isDue || (!isPeriod && Cron.match(expression, shown + minute))
    if (isDue && time >= from) due.push(time)
  }
  return due
}

const changes: ReadonlyArray<readonly [zone: string, day: string]> = [
  ["Europe/Berlin", "2026-03-29"],
  ["Europe/Berlin", "2026-10-25"],
  ["America/New_York", "2026-03-08"],
  ["America/New_York", "2026-11-01"],
  ["Australia/Lord_Howe", "2026-04-04"],
  ["Australia/Lord_Howe", "2026-10-03"],
  ["America/Sao_Paulo", "2018-11-04"],
  ["America/Sao_Paulo", "2018-02-18"],
  ["Pacific/Apia", "2011-12-30"],
  ["Africa/Casablanca", "2026-02-15"],
  ["Asia/Kathmandu", "2028-02-29"],
  ["UTC", "2028-02-29"]
]

const expressions = FastCheck.tuple(
  FastCheck.constantFrom("0", "30", "*/15", "5,50", "59"),
  FastCheck.constantFrom("*", "2", "0", "23", "1-3", "*/2", "0,1,2,3"),
  FastCheck.constantFrom("*", "*", "29", "1,25,30"),
  FastCheck.constant("*"),
  FastCheck.constantFrom("*", "*", "0", "1-5")
)

describe("the due times of random expressions", () => {
  const seed = seedOf(20261129)

  it(`are those of a walk through all minutes around changes of clocks (seed ${seed})`, () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.constantFrom(...changes), expressions, ([timeZone, day], fields) => {
        const cron = fields.join(" ")
        const [from, to] = [Date.parse(day) - 30 * 60 * minute, Date.parse(day) + 54 * 60 * minute]
        const found = latestTimes(dueTimes({ cron, timeZone }), from - 1, to, 100_000)
        assert.deepStrictEqual(found, walked(cron, timeZone, from, to))
      }),
      { numRuns: lengthOf("DUE_TIMES"), seed, endOnFailure: false }
    )
  })
})
